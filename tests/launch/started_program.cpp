#include "tests/launch/started_program.h"

#include <csignal>
#include <fstream>
#include <thread>

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace chorus {
namespace {

void redirect(int descriptor, const std::string& path) {
  const int file = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0666);
  dup2(file, descriptor);
  close(file);
}

}  // namespace

bool becomes_true(const std::function<bool()>& condition, std::chrono::seconds patience,
                  std::chrono::milliseconds pause) {
  const auto end = std::chrono::steady_clock::now() + patience;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(pause);
  }
  return true;
}

StartedProgram::StartedProgram(const std::vector<std::string>& arguments,
                               const std::vector<std::string>& launcher) {
  std::vector<std::string> words = launcher;
  words.emplace_back(CHORUS_PROGRAM);
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> pointers;
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  const std::string out = folder_ / "out", err = folder_ / "err";
  process_ = fork();
  if (process_ != 0) return;
  // Who started the tests may ignore them: shells in the background do, and nohup. And a group of processes whose
  // parents have left the session is never held.
  for (const int usual : {SIGINT, SIGHUP}) std::signal(usual, SIG_DFL);
  setpgid(0, 0);
  redirect(STDOUT_FILENO, out);
  redirect(STDERR_FILENO, err);
  execvp(pointers[0], pointers.data());
  _exit(127);
}

StartedProgram::~StartedProgram() {
  if (has_ended()) return;
  signal(SIGKILL);
  waitpid(process_, nullptr, 0);
}

bool StartedProgram::has_ended() {
  if (!ended_) ended_ = waitpid(process_, &status_, WNOHANG) == process_;
  return ended_;
}

bool StartedProgram::says(const std::string& text) {
  const auto said = [&] { return read_text(folder_ / "out").find(text) != std::string::npos; };
  return becomes_true([&] { return said() || has_ended(); }) && said();
}

bool StartedProgram::handles(int signal) {
  return becomes_true([&] {
    std::ifstream lines("/proc/" + std::to_string(process_) + "/status");
    for (std::string line; std::getline(lines, line);) {
      if (line.starts_with("SigCgt:"))
        return (std::stoull(line.substr(7), nullptr, 16) >> (signal - 1) & 1) == 1;
    }
    return false;
  });
}

void StartedProgram::signal(int signal) const { kill(process_, signal); }

Outcome StartedProgram::wait() {
  if (!becomes_true([&] { return has_ended(); })) {
    signal(SIGKILL);
    waitpid(process_, &status_, 0);
    ended_ = true;
  }
  return {WIFEXITED(status_) ? WEXITSTATUS(status_) : -WTERMSIG(status_), read_text(folder_ / "out"),
          read_text(folder_ / "err")};
}

}  // namespace chorus
