#include "launch/process/console.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/ioctl.h>
#include <unistd.h>

namespace chorus {
namespace {

constexpr double seconds_between_bars = 0.1;
// Long jobs need fewer lines: one per tenth of the time so far, between these.
constexpr double least_seconds_between_lines = 2.0;
constexpr double most_seconds_between_lines = 60.0;
constexpr int columns_of_unknown_terminal = 80;

int terminal_columns(int file) {
  if (isatty(file) == 0) return 0;
  winsize size{};
  return ioctl(file, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : columns_of_unknown_terminal;
}

double steady_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

std::string print_rate(double per_second) {
  if (per_second >= 100) return fmt::format("{:.0f}/s", per_second);
  if (per_second >= 1) return fmt::format("{:.1f}/s", per_second);
  return fmt::format("{:.2f}/s", per_second);
}

// A terminal that was closed, or a full disk behind a log, must not end the work: what cannot be said is left out.
void say(std::FILE* file, const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), file);
  std::fflush(file);
}

}  // namespace

std::string print_duration(double seconds) {
  const auto whole = static_cast<std::int64_t>(std::llround(std::max(0.0, seconds)));
  if (whole < 60) return fmt::format("{}s", whole);
  if (whole < 3600) return fmt::format("{}m{:02}s", whole / 60, whole % 60);
  return fmt::format("{}h{:02}m", whole / 3600, whole % 3600 / 60);
}

Console::Console(bool quiet)
    : Console(Surroundings{stdout, stderr, [] { return terminal_columns(STDERR_FILENO); }, steady_seconds},
              quiet) {}

Console::Console(Surroundings surroundings, bool quiet)
    : surroundings_(std::move(surroundings)), quiet_(quiet) {}

Console::~Console() { finish(); }

void Console::print(std::string_view lines) {
  if (quiet_) return;
  erase();
  say(surroundings_.results, fmt::format("{}\n", lines));
  const int columns = surroundings_.columns();
  if (!what_.empty() && columns > 0) draw(columns);
  last_ = surroundings_.seconds();
}

void Console::begin(std::string_view what, std::int64_t done) {
  if (what == what_) return;
  finish();
  what_ = what;
  started_ = last_ = surroundings_.seconds();
  first_ = done;
  stale_ = true;
}

void Console::progress(std::string_view what, std::int64_t done, std::int64_t total) {
  if (quiet_) return;
  begin(what, done);
  stale_ = stale_ || done != done_ || total != total_;
  done_ = done;
  total_ = total;
  draw_if_due(total > 0 && done >= total);
}

void Console::show(std::string_view what, std::vector<std::string> lines) {
  if (quiet_) return;
  if (lines.empty()) {
    erase();
    what_.clear();
    return;
  }
  begin(what, 0);
  stale_ = stale_ || lines != lines_;
  lines_ = std::move(lines);
  draw_if_due(false);
}

void Console::draw_if_due(bool complete) {
  const double now = surroundings_.seconds();
  const int columns = surroundings_.columns();
  const double pause = columns > 0 ? seconds_between_bars
                                   : std::clamp((now - started_) / 10, least_seconds_between_lines,
                                                most_seconds_between_lines);
  const bool due = now - last_ >= pause;
  const bool first_bar = columns > 0 && rows_shown_ == 0;
  const bool last_line = complete && (columns > 0 || line_shown_);
  if (stale_ && (due || first_bar || last_line)) {
    draw(columns);
    last_ = now;
  }
}

void Console::finish() {
  if (quiet_ || what_.empty()) return;
  const int columns = surroundings_.columns();
  if (stale_ && (columns > 0 || line_shown_)) draw(columns);
  if (rows_shown_ > 0) say(surroundings_.progress, "\n");
  what_.clear();
  lines_.clear();
  rows_shown_ = 0;
  stale_ = line_shown_ = false;
}

double Console::part() const {
  return total_ > 0 ? std::clamp(static_cast<double>(done_) / static_cast<double>(total_), 0.0, 1.0) : 0;
}

std::string Console::numbers() const {
  const double elapsed = surroundings_.seconds() - started_;
  const double rate = elapsed > 0 ? static_cast<double>(done_ - first_) / elapsed : 0;
  std::string numbers = total_ > 0 ? fmt::format("{}/{}", done_, total_) : fmt::format("{}", done_);
  if (rate > 0) numbers += " | " + print_rate(rate);
  if (done_ >= total_) {
    numbers += " | " + print_duration(elapsed);
  } else if (rate > 0) {
    numbers += " | eta " + print_duration(static_cast<double>(total_ - done_) / rate);
  }
  return total_ > 0 ? fmt::format("{:3.0f}% | {}", std::floor(100 * part()), numbers) : numbers;
}

std::string Console::bar(std::size_t room) const {
  const std::string status = numbers();
  std::string line = what_ + ' ';
  const std::size_t text = line.size() + status.size();
  if (total_ > 0 && room >= text + 8) {
    const std::size_t cells = std::min<std::size_t>(room - text - 3, 40);
    const auto filled = static_cast<std::size_t>(part() * static_cast<double>(cells));
    line += '[' + std::string(filled, '#') + std::string(cells - filled, '.') + "] ";
  }
  return line + status;
}

void Console::draw(int columns) {
  stale_ = false;
  if (columns == 0) {
    say(surroundings_.progress, lines_.empty() ? fmt::format("{}: {}\n", what_, numbers())
                                               : fmt::format("{}\n", fmt::join(lines_, "\n")));
    line_shown_ = true;
    return;
  }
  // The last column stays free: writing there makes some terminals begin a new line.
  const auto room = static_cast<std::size_t>(columns - 1);
  std::vector<std::string> rows = lines_.empty() ? std::vector{bar(room)} : lines_;
  for (std::string& row : rows) row = row.substr(0, room) + "\x1b[K";
  if (rows_shown_ > rows.size()) erase();
  say(surroundings_.progress, to_first_row() + fmt::format("{}", fmt::join(rows, "\n")));
  rows_shown_ = rows.size();
}

std::string Console::to_first_row() const {
  return rows_shown_ > 1 ? fmt::format("\r\x1b[{}A", rows_shown_ - 1) : "\r";
}

void Console::erase() {
  if (rows_shown_ == 0) return;
  say(surroundings_.progress, to_first_row() + (rows_shown_ > 1 ? "\x1b[J" : "\x1b[K"));
  rows_shown_ = 0;
}

}  // namespace chorus
