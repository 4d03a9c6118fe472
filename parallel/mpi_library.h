#pragma once

#include <string>
#include <utility>
#include <vector>

namespace chorus {

// "Open MPI v4.1.4, …" of the library that is loaded. May be called without a launcher.
std::string mpi_library_version();

// What decides how Open MPI moves messages, as far as this library knows it under these names: pml (protocol), btl
// (transports that are allowed; empty: all), and how ranks of one machine copy from each other. Only while an
// MpiSession lives.
std::vector<std::pair<std::string, std::string>> mpi_transport();

}  // namespace chorus
