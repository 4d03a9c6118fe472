#pragma once

#include <cstdint>
#include <cstdio>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace chorus {

// What a person sees while a command works: result lines on stdout, and how far it is on stderr. On a
// terminal that is a bar in the last line, redrawn at most 10 times a second; elsewhere plain lines, each
// after at least two seconds, and after a tenth of the job's time so far up to a minute, in which nothing
// else was said. A job that ends sooner leaves no plain line.
class Console {
 public:
  // How the outside looks; tests give their own.
  struct Surroundings {
    std::FILE* results = stdout;
    std::FILE* progress = stderr;
    std::function<int()> columns;     // of the terminal behind `progress`; 0: it is none
    std::function<double()> seconds;  // a clock that never goes back
  };

  // A quiet console (of every rank but the first) swallows everything.
  explicit Console(bool quiet = false);
  Console(Surroundings surroundings, bool quiet);
  ~Console();
  Console(const Console&) = delete;
  Console& operator=(const Console&) = delete;

  // One or more whole lines, without the last line feed; a bar moves below them.
  void print(std::string_view lines);
  // `done` of `total` units (0: unknown) of the job `what`. Another name than before begins another job.
  void progress(std::string_view what, std::int64_t done, std::int64_t total);
  // The same for jobs that work side by side: a line of each, in place of the bar. `what` names all of them together; no
  // lines end them, and nothing stays.
  void show(std::string_view what, std::vector<std::string> lines);
  // Ends the job: its bar stays as it is, and what follows begins on a new line.
  void finish();

 private:
  void begin(std::string_view what, std::int64_t done);
  void draw_if_due(bool complete);
  void draw(int columns);
  double part() const;  // that is done, 0 to 1
  std::string numbers() const;
  std::string bar(std::size_t room) const;
  std::string to_first_row() const;
  void erase();

  Surroundings surroundings_;
  bool quiet_;
  std::string what_;  // empty: no job
  std::int64_t done_ = 0, total_ = 0, first_ = 0;
  std::vector<std::string> lines_;  // of jobs side by side
  double started_ = 0, last_ = 0;
  std::size_t rows_shown_ = 0;  // of the terminal: one of a bar
  bool stale_ = false, line_shown_ = false;
};

// "7s", "3m05s", "2h07m": rounded to whole seconds, never negative.
std::string print_duration(double seconds);

}  // namespace chorus
