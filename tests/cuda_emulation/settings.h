#pragma once

// What the emulated machine is, and in which of the allowed orders it works. README.md tells the environment variables
// that choose the same.

#include <cstddef>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

namespace chorus::cuda_emulation {

// Of blocks in a grid, warps in a block and lanes in a warp.
enum class Order { sequential, reversed, random };
// When queued work runs: at once; when someone waits for it, newest stream first; at random.
enum class Progress { eager, lazy, random };

struct DeviceModel {
  std::string name = "Emulated GPU";
  int major = 8, minor = 0;  // compute capability
  int multiprocessors = 4;

  // Shared memory that a block may ask for, by the table of compute capabilities in the CUDA programming guide.
  std::size_t shared_bytes() const;
};

struct Settings {
  Order order = Order::sequential;
  Progress streams = Progress::lazy;
  std::uint64_t seed = 1;  // of random orders

  std::vector<DeviceModel> devices{DeviceModel{}};  // at most most_devices
  bool driver = true;                               // is there one?
  std::size_t device_bytes = std::size_t{8} << 30;  // memory of each device

  bool protect = true;       // host code cannot touch device memory
  double nccl_timeout = 60;  // seconds until an operation without its peers is an asynchronous error
  std::uint64_t fuzz = 0;    // not zero: results of tensor cores and ex2.approx are up to 2 ulp wrong
};

inline constexpr std::size_t most_devices = 8;

// At first as the environment says.
const Settings& settings();
void configure(const Settings& settings);

// Of the orders; begins anew with each configure().
std::mt19937_64& randomness();

}  // namespace chorus::cuda_emulation
