#pragma once

#include <exception>
#include <string>

#include "ops/base/error.h"

namespace chorus {

// Prints "who: error: message" on stderr, after what stands in stdout, and returns the exit code that fits. What a
// signal stopped is no error, and is not called one.
ExitCode report_error(const std::string& who, const std::exception& error);

// At the end of a command: where stdin could not be read to its end, or not all that was said be written to stdout, that
// is an error, too.
ExitCode finish_streams(const std::string& who, ExitCode exit_code);

}  // namespace chorus
