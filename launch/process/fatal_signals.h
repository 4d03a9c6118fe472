#pragma once

namespace chorus {

// From here on, signals that end the process because of the machine's state are told as errors are. Any other ends it as
// before.
//  - SIGBUS: a mapped file is cut, or its disk fails, while it is read: its name, and the exit code of bad data.
//  - SIGSEGV: the system gave a library no memory (ops/base/unchecked_memory.h): the exit code of memory.
void explain_fatal_signals();

}  // namespace chorus
