#pragma once

namespace chorus {

// A mapped file that is cut, or whose disk fails, while it is read answers with SIGBUS. From here on that is said, with the
// file's name, and ends the process with the exit code of bad data; any other SIGBUS ends it as before.
void explain_lost_files();

}  // namespace chorus
