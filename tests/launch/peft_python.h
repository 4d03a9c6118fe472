#pragma once

#include <cstdlib>
#include <string>

namespace chorus {

// A Python with transformers and PEFT: what CHORUS_PEFT_PYTHON of the environment says, else of the build.
inline std::string peft_python() {
  const char* variable = std::getenv("CHORUS_PEFT_PYTHON");
  return variable != nullptr ? variable : CHORUS_PEFT_PYTHON;
}

// Why it cannot be used; empty where it can.
inline std::string missing_peft() {
  const std::string python = peft_python();
  if (std::system(("'" + python + "' -c 'import peft' 2> /dev/null").c_str()) == 0) return "";
  return "NOT TESTED: " + python + " has no PEFT; python3 -m venv build/peft && " +
         "build/peft/bin/pip install torch transformers peft, or set CHORUS_PEFT_PYTHON";
}

}  // namespace chorus
