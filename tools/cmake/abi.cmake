# What decides the layout of std::string and std::vector, which cross librt's interface, as the flags of this build have
# it: the generated librt/abi.hpp holds users of the headers to the same.
string(TOUPPER "${CMAKE_BUILD_TYPE}" config)
separate_arguments(flags NATIVE_COMMAND
                   "${CMAKE_CXX_COMPILER_ARG1} ${CMAKE_CXX_FLAGS} ${CMAKE_CXX_FLAGS_${config}}")
get_directory_property(options COMPILE_OPTIONS)
get_directory_property(definitions COMPILE_DEFINITIONS)
list(TRANSFORM definitions PREPEND -D)
list(APPEND flags ${options} ${definitions})
list(FILTER flags EXCLUDE REGEX "\\$<")
if(CMAKE_CXX_COMPILER_TARGET)
  list(APPEND flags --target=${CMAKE_CXX_COMPILER_TARGET})
endif()
if(CMAKE_SYSROOT)
  list(APPEND flags --sysroot=${CMAKE_SYSROOT})
endif()
set(probe ${PROJECT_BINARY_DIR}/abi_probe.cpp)
file(CONFIGURE OUTPUT ${probe} CONTENT "#include <cstddef>
#ifdef __GLIBCXX__
librt libstdcxx 1
#else
librt libstdcxx 0
#endif
#if _GLIBCXX_USE_CXX11_ABI
librt strings 1
#else
librt strings 0
#endif
#ifdef _GLIBCXX_DEBUG
librt debug 1
#else
librt debug 0
#endif
" @ONLY)
execute_process(COMMAND ${CMAKE_CXX_COMPILER} ${flags} -std=c++20 -E -P ${probe} OUTPUT_VARIABLE answers
                RESULT_VARIABLE status)
foreach(question libstdcxx strings debug)
  if(NOT status EQUAL 0 OR NOT answers MATCHES "librt ${question} ([01])")
    message(FATAL_ERROR "${CMAKE_CXX_COMPILER} does not preprocess ${probe}")
  endif()
  set(LIBRT_ABI_${question} ${CMAKE_MATCH_1})
endforeach()
set(LIBRT_ABI_library_0 "another standard library than libstdc++")
set(LIBRT_ABI_library_1 "libstdc++")
set(LIBRT_ABI_library ${LIBRT_ABI_library_${LIBRT_ABI_libstdcxx}})
set(LIBRT_ABI_with_0 "without")
set(LIBRT_ABI_with_1 "with")
set(LIBRT_ABI_with ${LIBRT_ABI_with_${LIBRT_ABI_debug}})
configure_file(${PROJECT_SOURCE_DIR}/include/librt/abi.hpp.in ${PROJECT_BINARY_DIR}/include/librt/abi.hpp @ONLY)
