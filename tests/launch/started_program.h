#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include <sys/types.h>

#include "tests/launch/program.h"

namespace chorus {

// Waits until the condition holds, asking again after each pause; false: it did not within the time.
bool becomes_true(const std::function<bool()>& condition,
                  std::chrono::seconds patience = std::chrono::minutes(1),
                  std::chrono::milliseconds pause = std::chrono::milliseconds(5));

// The built program while it runs, to be signalled. `launcher` stands before it. Killed in the end if it still runs.
class StartedProgram {
 public:
  explicit StartedProgram(const std::vector<std::string>& arguments,
                          const std::vector<std::string>& launcher = {});
  ~StartedProgram();
  StartedProgram(const StartedProgram&) = delete;
  StartedProgram& operator=(const StartedProgram&) = delete;

  // Waits until the program has said this on stdout, or has ended; false: it ended without, or a minute went by.
  bool says(const std::string& text);
  // Waits until the process itself, not one behind a launcher, handles the signal.
  bool handles(int signal);
  void signal(int signal) const;
  pid_t process() const { return process_; }
  // Waits for the end; kills what does not end within a minute.
  Outcome wait();

 private:
  bool has_ended();

  TemporaryFolder folder_;
  pid_t process_ = -1;
  int status_ = 0;
  bool ended_ = false;
};

}  // namespace chorus
