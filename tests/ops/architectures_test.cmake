# cmake -P of this: which device code is made, with an nvcc and an nvidia-smi that only speak.
cmake_minimum_required(VERSION 3.22)
include(${CMAKE_CURRENT_LIST_DIR}/../../ops/cuda/architectures.cmake)

set(folder ${CMAKE_CURRENT_BINARY_DIR}/architectures_test)
function(write_program name output)
  file(WRITE ${folder}/${name} "#!/bin/sh\nprintf '${output}'\n${ARGN}\n")
  file(CHMOD ${folder}/${name} PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE)
endfunction()

function(expect all capabilities wanted wanted_reason)
  write_program(nvidia-smi "${capabilities}" ${ARGN})
  choose_cuda_architectures(architectures reason ${folder}/nvcc ${all})
  if(NOT architectures STREQUAL wanted OR NOT reason MATCHES "${wanted_reason}")
    message(SEND_ERROR "nvidia-smi says '${capabilities}', all=${all}: '${architectures}' (${reason}) instead of "
                       "'${wanted}' (${wanted_reason})")
  endif()
endfunction()

set(ENV{PATH} "${folder}:$ENV{PATH}")
set(all_of_13 "80-real;86-real;89-real;90-real;100-real;120")
write_program(nvcc "sm_75\\nsm_80\\nsm_86\\nsm_87\\nsm_89\\nsm_90\\nsm_100\\nsm_120\\n")
expect(OFF "8.0\\n8.0\\n" "80-real" "^this machine's GPUs")
expect(OFF "9.0\\n12.0\\n" "90-real;120-real" "^this machine's GPUs")
expect(ON "8.0\\n" "${all_of_13}" "CHORUS_CUDA_ALL")
expect(OFF "" "${all_of_13}" "no GPU is seen" "exit 9")
expect(OFF "No devices were found\\n" "${all_of_13}" "no GPU is seen")
expect(OFF "NVML library version: 535.183\\n" "${all_of_13}" "no GPU is seen" "exit 18")
expect(OFF "7.5\\n8.0\\n" "${all_of_13}" "not only this machine's GPUs of compute capability 7.5, 8.0")
expect(OFF "15.0\\n" "${all_of_13}" "not only this machine's GPUs of compute capability 15.0")
# CUDA 12.0 knows no Blackwell, which then runs from the PTX of Hopper.
write_program(nvcc "sm_50\\nsm_80\\nsm_86\\nsm_87\\nsm_89\\nsm_90\\n")
expect(OFF "" "80-real;86-real;89-real;90" "no GPU is seen")
expect(OFF "12.0\\n" "80-real;86-real;89-real;90" "not only this machine's GPUs of compute capability 12.0")
