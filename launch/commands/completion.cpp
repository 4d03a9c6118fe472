#include <cstdio>

#include "launch/commands/commands.h"
#include "launch/process/console.h"

namespace chorus::command {

namespace {

enum class Shell { bash, zsh };

// Asks the program itself: its help is made from the tables of options, so that this text knows none of them.
constexpr const char* script = R"bash(_chorus() {
  local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} program=${COMP_WORDS[0]}
  local command=${COMP_WORDS[1]} choices
  if [[ $COMP_CWORD -eq 1 ]]; then
    choices="$("$program" --help | sed -n 's/^  \([a-z]*\)  .*/\1/p') --help --version"
  elif [[ $word == -* ]]; then
    choices=$("$program" "$command" --help | sed -n 's/^  \(--[a-z0-9-]*\).*/\1/p')
  else
    choices=$("$program" "$command" --help | sed -n "s/^  $before \([a-z0-9.-]*|[a-z0-9.|-]*\) .*/\1/p" | tr '|' ' ')
  fi
  if [[ -n $choices ]]; then
    COMPREPLY=($(compgen -W "$choices" -- "$word"))
  else
    COMPREPLY=($(compgen -f -- "$word"))
  fi
}
complete -o filenames -F _chorus chorus
)bash";

}  // namespace

ExitCode completion(const Arguments& arguments) {
  Shell shell = Shell::bash;
  OptionTable table("completion", "prints what makes a shell complete commands, options and their words");
  table.choice("shell", shell, {{"bash", Shell::bash}, {"zsh", Shell::zsh}},
               "bash: source <(chorus completion); zsh: source <(chorus completion --shell zsh)");
  if (!table.parse(arguments)) return ExitCode::done;
  if (shell == Shell::zsh) std::fputs("autoload -U +X bashcompinit && bashcompinit\n", stdout);
  std::fputs(script, stdout);
  return ExitCode::done;
}

}  // namespace chorus::command
