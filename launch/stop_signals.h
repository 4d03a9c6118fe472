#pragma once

namespace chorus {

// From here on SIGUSR1, SIGUSR2 and SIGTERM ask this process to stop in order, and no longer end it. Another one, 2
// seconds or more later, ends it at once with exit code 128 + signal; an earlier one is taken for the same request,
// since launchers and schedulers deliver some signals twice. To be called before MPI is initialised: launchers forward
// signals from the first moment.
void catch_stop_signals();

// Whether such a signal came.
bool stop_requested();

}  // namespace chorus
