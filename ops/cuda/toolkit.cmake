# Finds the CUDA toolkit. Sets
#   CHORUS_WITH_CUDA       nvcc, cudart, cuBLASLt and NCCL are there and wanted: the program is built for GPUs
#   CHORUS_EMULATE_CUDA    their headers are there: tests run the CUDA code on the CPU
find_package(CUDAToolkit 12.0 QUIET)
find_path(NCCL_INCLUDE_DIR nccl.h HINTS ${CUDAToolkit_INCLUDE_DIRS})
find_library(NCCL nccl HINTS ${CUDAToolkit_LIBRARY_DIR})

set(CHORUS_EMULATE_CUDA OFF)
# ThreadSanitizer's functions are those by which the emulation sees what kernels access.
if(CHORUS_TESTS AND CHORUS_CUDA_TESTS AND NOT CHORUS_SANITIZE STREQUAL "thread"
   AND CUDAToolkit_FOUND AND NCCL_INCLUDE_DIR AND CMAKE_SYSTEM_PROCESSOR STREQUAL "x86_64")
  set(CHORUS_EMULATE_CUDA ON)
endif()

set(CHORUS_WITH_CUDA OFF)
if(NOT CHORUS_CUDA STREQUAL "OFF")
  if(CUDAToolkit_FOUND AND TARGET CUDA::cublasLt AND NCCL AND NCCL_INCLUDE_DIR AND CUDAToolkit_NVCC_EXECUTABLE)
    set(CHORUS_WITH_CUDA ON)
  elseif(CHORUS_CUDA STREQUAL "ON")
    message(FATAL_ERROR "CHORUS_CUDA=ON, but these were not all found: CUDA toolkit 12 or later with nvcc and cuBLASLt "
                        "(${CUDAToolkit_LIBRARY_DIR}), NCCL (${NCCL})")
  endif()
endif()

if(CHORUS_WITH_CUDA)
  set(CMAKE_CUDA_COMPILER ${CUDAToolkit_NVCC_EXECUTABLE})
  set(reason CMAKE_CUDA_ARCHITECTURES)
  if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
    include(ops/cuda/architectures.cmake)
    choose_cuda_architectures(CMAKE_CUDA_ARCHITECTURES reason ${CUDAToolkit_NVCC_EXECUTABLE} ${CHORUS_CUDA_ALL})
  endif()
  message(STATUS "device code for ${CMAKE_CUDA_ARCHITECTURES} (${reason})")
  if(CCACHE AND NOT CMAKE_CUDA_COMPILER_LAUNCHER)
    set(CMAKE_CUDA_COMPILER_LAUNCHER ${CCACHE})
  endif()
  enable_language(CUDA)
  # CMake 3.25 does not know yet that nvcc 12 and later speak C++20.
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION "-std=c++20")
  set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION "-std=c++20")
  set(CMAKE_CUDA_STANDARD 20)
  set(CMAKE_CUDA_STANDARD_REQUIRED ON)
endif()

message(STATUS "GPUs: ${CHORUS_WITH_CUDA} (CHORUS_CUDA=${CHORUS_CUDA}); CUDA code tested on the CPU: ${CHORUS_EMULATE_CUDA}")
