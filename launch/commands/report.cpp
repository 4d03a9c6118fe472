#include "experiments/report/report.h"

#include <filesystem>

#include "data/text/files.h"
#include "launch/commands/commands.h"
#include "launch/process/console.h"

namespace chorus::command {

ExitCode report(const Arguments& arguments) {
  std::vector<std::string> inputs;
  std::string output, title = "Chorus report";
  OptionTable table("report",
                    "makes one page of curves, tables and predictions of what other commands wrote");
  table
      .positional("folder", inputs,
                  "output of train, evaluate, study or sweep, or a folder with some of these")
      .required()
      .shown_as("DIR");
  table.add("output", output, "new file for the page; beside it FILE.csv with a row per training")
      .required()
      .shown_as("FILE.html");
  table.add("title", title, "of the page");
  if (!table.parse(arguments)) return ExitCode::done;
  const std::filesystem::path page = output, rows = std::filesystem::path(output).replace_extension(".csv");
  for (const std::filesystem::path& file : {page, rows}) begin_new_file(file, "--output");
  const Report found = Report::collect({inputs.begin(), inputs.end()});
  write_file_atomically(rows, found.to_csv());
  write_file_atomically(page, found.to_html(title, std::filesystem::absolute(page).parent_path()));
  Console console;
  for (const std::string& remark : found.remarks) console.print(remark);
  console.print(fmt::format("{} trainings and {} evaluations are in {}", found.trainings.size(),
                            found.evaluations.size(), output));
  return ExitCode::done;
}

}  // namespace chorus::command
