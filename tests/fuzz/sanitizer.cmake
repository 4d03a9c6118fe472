# What the preset `fuzz` compiles everything with.
include(CheckCXXSourceCompiles)
set(CMAKE_REQUIRED_FLAGS -fsanitize=fuzzer,address,undefined)
check_cxx_source_compiles([[
  #include <cstddef>
  #include <cstdint>
  extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t*, std::size_t) { return 0; }]] CHORUS_HAS_FUZZER)
unset(CMAKE_REQUIRED_FLAGS)
if(NOT CHORUS_HAS_FUZZER)
  message(FATAL_ERROR "${CMAKE_CXX_COMPILER} has no libFuzzer: install clang and libclang-rt-dev (apt-get install clang), or "
                      "name another one with -DCMAKE_CXX_COMPILER=clang++-16 -DCMAKE_C_COMPILER=clang-16")
endif()
target_compile_options(chorus_settings INTERFACE
  -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined -Wno-everything)
target_link_options(chorus_settings INTERFACE -fsanitize=address,undefined)
if(CMAKE_CXX_COMPILER_VERSION VERSION_LESS 16)
  target_compile_options(chorus_settings INTERFACE
    $<$<COMPILE_LANGUAGE:CXX>:SHELL:-include ${CMAKE_CURRENT_LIST_DIR}/source_location.h>)
endif()
