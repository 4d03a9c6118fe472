#include <cctype>
#include <cstdlib>
#include <memory>

#include "tests/cuda_emulation/ptx_instruction.h"
#include "tests/cuda_emulation/report.h"

namespace chorus::cuda_emulation {
namespace {

using Kind = PtxInstruction::Argument::Kind;
using Operation = PtxInstruction::Operation;

class PtxParser {
 public:
  PtxParser(const char* text, Location where) : text_(text), rest_(text), where_(where) {
    result_->text = text;
  }

  const PtxInstruction* parse() {
    const std::string opcode = read_opcode();
    while (read_space(), *rest_ != ';') {
      if (*rest_ == '\0') fail("it must end with a semicolon");
      result_->arguments.push_back(read_argument());
      read_space();
      if (*rest_ == ',') {
        ++rest_;
      } else if (*rest_ != ';') {
        fail("a comma or semicolon is missing");
      }
    }
    ++rest_;
    read_space();
    if (*rest_ != '\0') fail("one instruction in each text");
    identify(opcode);
    return result_.release();  // lives as long as its place in the source
  }

 private:
  struct Form {
    Kind kind;
    std::size_t count = 1;
  };

  [[noreturn]] void fail(const char* why) const { report(where_, "PTX \"{}\": {}", text_, why); }

  void read_space() {
    while (std::isspace(static_cast<unsigned char>(*rest_)) != 0) ++rest_;
  }

  std::string read_opcode() {
    read_space();
    std::string opcode;
    while (*rest_ != '\0' && *rest_ != ';' && std::isspace(static_cast<unsigned char>(*rest_)) == 0) {
      opcode += *rest_++;
    }
    return opcode;
  }

  std::int64_t read_number() {
    char* end = nullptr;
    const std::int64_t value = std::strtol(rest_, &end, 0);
    if (end == rest_) fail("a number is missing");
    rest_ = end;
    return value;
  }

  unsigned read_operand() {
    if (*rest_ != '%' || std::isdigit(static_cast<unsigned char>(rest_[1])) == 0) fail("want %<number>");
    ++rest_;
    const auto number = static_cast<unsigned>(read_number());
    result_->operands = std::max<std::size_t>(result_->operands, number + 1);
    return number;
  }

  PtxInstruction::Argument read_argument() {
    PtxInstruction::Argument argument{Kind::constant, {}};
    if (*rest_ == '{') {
      argument.kind = Kind::list;
      do {
        ++rest_;
        read_space();
        argument.operands.push_back(read_operand());
        read_space();
      } while (*rest_ == ',');
      if (*rest_++ != '}') fail("a brace is not closed");
    } else if (*rest_ == '[') {
      argument.kind = Kind::address;
      ++rest_;
      read_space();
      argument.operands.push_back(read_operand());
      read_space();
      if (*rest_ == '+') {
        ++rest_;
        read_space();
        argument.constant = read_number();
        read_space();
      }
      if (*rest_++ != ']') fail("a bracket is not closed");
    } else if (*rest_ == '%') {
      argument.kind = Kind::operand;
      argument.operands.push_back(read_operand());
    } else {
      argument.constant = read_number();
    }
    return argument;
  }

  // The arguments must have these forms; a constant may stand for an operand.
  void expect(const std::vector<Form>& forms) const {
    if (forms.size() != result_->arguments.size()) fail("wrong number of arguments");
    for (std::size_t i = 0; i < forms.size(); ++i) {
      const auto& argument = result_->arguments[i];
      const bool constant_operand = forms[i].kind == Kind::operand && argument.kind == Kind::constant;
      if (argument.kind != forms[i].kind && !constant_operand) fail("an argument of the wrong kind");
      if (argument.kind == Kind::list && argument.operands.size() != forms[i].count) {
        fail("a list of the wrong length");
      }
    }
  }

  void identify(const std::string& opcode) {
    const std::vector<Form> mma{{Kind::list, 4}, {Kind::list, 4}, {Kind::list, 2}, {Kind::list, 4}};
    if (opcode == "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32") {
      set(Operation::mma_bf16, mma);
    } else if (opcode == "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32") {
      set(Operation::mma_f16, mma);
    } else if (opcode == "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32") {
      set(Operation::mma_tf32, mma);
    } else if (opcode.starts_with("ldmatrix.sync.aligned.m8n8.x")) {
      identify_ldmatrix(opcode);
    } else if (opcode == "cp.async.cg.shared.global" || opcode == "cp.async.ca.shared.global") {
      identify_copy(opcode);
    } else if (opcode == "cp.async.commit_group") {
      set(Operation::cp_async_commit, {});
    } else if (opcode == "cp.async.wait_group") {
      set(Operation::cp_async_wait, {{Kind::operand}});
    } else if (opcode == "cp.async.wait_all") {
      set(Operation::cp_async_wait_all, {});
    } else if (opcode == "ex2.approx.ftz.f32") {
      set(Operation::ex2, {{Kind::operand}, {Kind::operand}});
    } else if (opcode == "bar.sync") {
      set(Operation::bar_sync, {{Kind::operand}, {Kind::operand}});
    } else {
      fail("the emulation does not know this instruction");
    }
  }

  void identify_ldmatrix(const std::string& opcode) {
    const std::string form = opcode.substr(std::string_view("ldmatrix.sync.aligned.m8n8.x").size());
    result_->matrices = form.empty() ? 0 : static_cast<unsigned>(form[0] - '0');
    if (result_->matrices != 1 && result_->matrices != 2 && result_->matrices != 4)
      fail("x1, x2 or x4 matrices");
    result_->transpose = form.substr(1) == ".trans.shared.b16";
    if (!result_->transpose && form.substr(1) != ".shared.b16") fail("an unknown form of ldmatrix");
    set(Operation::ldmatrix, {{Kind::list, result_->matrices}, {Kind::address}});
  }

  void identify_copy(const std::string& opcode) {
    std::vector<Form> forms{{Kind::address}, {Kind::address}, {Kind::constant}};
    if (result_->arguments.size() == 4) forms.push_back({Kind::operand});
    set(Operation::cp_async, forms);
    const std::int64_t bytes = result_->arguments[2].constant;
    const bool small = opcode.starts_with("cp.async.ca") && (bytes == 4 || bytes == 8);
    if (bytes != 16 && !small) fail("cp.async copies 16 bytes, or with .ca 4 or 8");
  }

  void set(Operation operation, const std::vector<Form>& forms) {
    result_->operation = operation;
    expect(forms);
  }

  const char* text_;
  const char* rest_;
  Location where_;
  std::unique_ptr<PtxInstruction> result_ = std::make_unique<PtxInstruction>();
};

}  // namespace

const PtxInstruction* parse_ptx(const char* text, Location where) { return PtxParser(text, where).parse(); }

}  // namespace chorus::cuda_emulation
