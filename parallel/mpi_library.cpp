#include "parallel/mpi_library.h"

#include <array>
#include <optional>
#include <string_view>

#include <mpi.h>

#include "parallel/mpi_communicator.h"

namespace chorus {

namespace {

// The word that a number stands for.
std::string word_of(MPI_T_enum words, int value) {
  int count = 0, name_length = 0;
  if (words == MPI_T_ENUM_NULL || MPI_T_enum_get_info(words, &count, nullptr, &name_length) != MPI_SUCCESS)
    return std::to_string(value);
  for (int i = 0; i < count; ++i) {
    std::array<char, 64> name{};
    int number = 0, length = static_cast<int>(name.size());
    if (MPI_T_enum_get_item(words, i, &number, name.data(), &length) == MPI_SUCCESS && number == value)
      return name.data();
  }
  return std::to_string(value);
}

std::optional<std::string> control_variable(const char* name) {
  int index = 0;
  if (MPI_T_cvar_get_index(name, &index) != MPI_SUCCESS) return std::nullopt;
  MPI_Datatype type = MPI_DATATYPE_NULL;
  MPI_T_enum words = MPI_T_ENUM_NULL;
  MPI_T_cvar_handle handle = MPI_T_CVAR_HANDLE_NULL;
  int name_length = 0, text_length = 0, level = 0, bind = 0, scope = 0, count = 0;
  if (MPI_T_cvar_get_info(index, nullptr, &name_length, &level, &type, &words, nullptr, &text_length, &bind,
                          &scope) != MPI_SUCCESS ||
      MPI_T_cvar_handle_alloc(index, nullptr, &handle, &count) != MPI_SUCCESS)
    return std::nullopt;
  std::optional<std::string> value;
  int number = 0;
  std::string text(static_cast<std::size_t>(count) + 1, '\0');
  if (type == MPI_INT && MPI_T_cvar_read(handle, &number) == MPI_SUCCESS) value = word_of(words, number);
  if (type == MPI_CHAR && MPI_T_cvar_read(handle, text.data()) == MPI_SUCCESS) value = text.c_str();
  MPI_T_cvar_handle_free(&handle);
  return value;
}

}  // namespace

std::string mpi_library_version() {
  std::string text(MPI_MAX_LIBRARY_VERSION_STRING, '\0');
  int length = 0;
  check_mpi(MPI_Get_library_version(text.data(), &length));
  // Open MPI counts the zero at the end as well.
  return text.substr(0, text.find_first_of(std::string_view("\n\r\0", 3)));
}

std::vector<std::pair<std::string, std::string>> mpi_transport() {
  int provided = 0;
  if (MPI_T_init_thread(MPI_THREAD_SINGLE, &provided) != MPI_SUCCESS) return {};
  std::vector<std::pair<std::string, std::string>> found;
  for (const char* name : {"pml", "btl", "btl_vader_single_copy_mechanism", "smsc"}) {
    if (const auto value = control_variable(name)) found.emplace_back(name, *value);
  }
  MPI_T_finalize();
  return found;
}

}  // namespace chorus
