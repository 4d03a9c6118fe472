# Chooses what nvcc makes device code for: the GPUs of this machine or, where it has none or not only ones that nvcc and
# the kernels know, or `all` is ON, the list of docs/gpu.md as far as this nvcc knows it. Sets in the caller's scope
#   `architectures`  for CMAKE_CUDA_ARCHITECTURES; the last of the list also as PTX, for GPUs to come
#   `reason`         in words
function(choose_cuda_architectures architectures reason nvcc all)
  execute_process(COMMAND ${nvcc} --list-gpu-code OUTPUT_VARIABLE known COMMAND_ERROR_IS_FATAL ANY)
  string(REGEX MATCHALL "sm_[0-9]+" known "${known}")
  list(TRANSFORM known REPLACE "sm_" "")

  # CMake's own `native` needs 3.24, and takes GPUs that are too old for the kernels.
  set(gpus "")
  set(why "all, as CHORUS_CUDA_ALL says")
  if(NOT all)
    execute_process(COMMAND nvidia-smi --query-gpu=compute_cap --format=csv,noheader OUTPUT_VARIABLE gpus ERROR_QUIET
                    RESULT_VARIABLE failed)
    string(REGEX MATCHALL "[0-9]+\\.[0-9]" gpus "${gpus}")
    list(REMOVE_DUPLICATES gpus)
    list(JOIN gpus ", " seen)
    list(TRANSFORM gpus REPLACE "\\." "")
    set(why "this machine's GPUs; -DCHORUS_CUDA_ALL=ON takes all")
    if(NOT gpus)
      set(why "all, no GPU is seen")
    endif()
  endif()
  foreach(gpu ${gpus})
    if(gpu LESS 80 OR NOT gpu IN_LIST known)
      set(why "all, not only this machine's GPUs of compute capability ${seen}")
      set(gpus "")
    endif()
  endforeach()

  set(chosen ${gpus})
  if(NOT gpus)
    foreach(architecture 80 86 89 90 100 120)
      if(architecture IN_LIST known)
        list(APPEND chosen ${architecture})
      endif()
    endforeach()
    list(POP_BACK chosen last)
  endif()
  list(TRANSFORM chosen APPEND -real)
  set(${architectures} ${chosen} ${last} PARENT_SCOPE)
  set(${reason} "${why}" PARENT_SCOPE)
endfunction()
