#pragma once

namespace chorus {

// From here on signals are handled by a thread that does nothing else ("signals" in /proc), whoever installed the
// handler; in this thread and all that it starts they are blocked. Generated code of oneDNN lets the stack pointer of a
// thread that computes point into the heap, where the kernel would write the frame of a handler. Left as they are: what
// tells a thread of its own instruction or system call (SIGSEGV, SIGPIPE and their like); but a write beyond the limit of
// `ulimit -f` (SIGXFSZ) is an error from now on, with a message, as on a full disk. To be called before any other
// thread is made. Processes that are started inherit the mask: they need an empty one.
void take_signals_apart();

// From here on SIGUSR1, SIGUSR2, SIGTERM and, unless it is ignored (nohup), SIGHUP ask this process to stop in order, and
// no longer end it. Another one, 2 seconds or more later, ends it at once with exit code 128 + signal; an earlier one is
// taken for the same request, since launchers and schedulers deliver some signals twice. To be called before MPI is
// initialised: launchers forward signals from the first moment.
void catch_stop_signals();

// Whether such a signal came.
bool stop_requested();

// From here on what cannot be said because its reader has left (`| head`) is a failed write, as on a full disk, and no longer
// ends the process (SIGPIPE).
void outlive_readers();

}  // namespace chorus
