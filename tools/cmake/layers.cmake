# One object library per directory of src/, so that each layer has its own dependencies.

# What the parent of librt set for its own fmt and spdlog, and for includes, is not for ours.
set_property(DIRECTORY PROPERTY INCLUDE_DIRECTORIES "")
get_directory_property(definitions COMPILE_DEFINITIONS)
list(FILTER definitions EXCLUDE REGEX "^(FMT|SPDLOG|JSON)_")
set_property(DIRECTORY PROPERTY COMPILE_DEFINITIONS "${definitions}")

set(LIBRT_COMPILE_OPTIONS -Wall -Wextra -Wshadow -Wconversion -Wpedantic)
# The loop pragma of g++ is unknown to clang.
if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  list(APPEND LIBRT_COMPILE_OPTIONS -Wno-unknown-pragmas)
endif()
set(LIBRT_LINK_OPTIONS)
# A sanitizer's own symbols come from the program.
set(LIBRT_NO_UNDEFINED LINKER:-z,defs)
if(LIBRT_SANITIZE OR CMAKE_CXX_FLAGS MATCHES "-fsanitize=")
  set(LIBRT_NO_UNDEFINED)
endif()
if(LIBRT_SANITIZE)
  list(APPEND LIBRT_COMPILE_OPTIONS -fsanitize=${LIBRT_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  list(APPEND LIBRT_LINK_OPTIONS -fsanitize=${LIBRT_SANITIZE})
  # g++'s manual: false positives under sanitizers. Here it doubts std::regex; the unsanitized build keeps the warning.
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    list(APPEND LIBRT_COMPILE_OPTIONS -Wno-maybe-uninitialized)
  endif()
endif()
if(LIBRT_FUZZ)
  if(NOT CMAKE_CXX_COMPILER_ID MATCHES "Clang")
    message(FATAL_ERROR "LIBRT_FUZZ needs clang: set CMAKE_CXX_COMPILER=clang++-16")
  endif()
  # Coverage for the fuzzer, without its main.
  list(APPEND LIBRT_COMPILE_OPTIONS -fsanitize=fuzzer-no-link)
  list(APPEND LIBRT_LINK_OPTIONS -fsanitize=fuzzer-no-link)
endif()
if(NOT BUILD_SHARED_LIBS)
  # For localize.cmake, which links the objects into one and knows no unique symbols.
  list(APPEND LIBRT_COMPILE_OPTIONS -fno-lto $<$<CXX_COMPILER_ID:GNU>:-fno-gnu-unique>)
endif()
if(LIBRT_PORTABLE)
  list(APPEND LIBRT_LINK_OPTIONS -static-libstdc++ -static-libgcc)
endif()
set(LIBRT_LAYER_OBJECTS)

# librt_layer(NAME [DIRECTORY dir] [DEPENDS target...] [SOURCES file...]): librt_NAME from src/NAME/**/*.cpp, or from
# those of another directory.
function(librt_layer name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "DIRECTORY" "DEPENDS;SOURCES")
  if(NOT arg_DIRECTORY)
    set(arg_DIRECTORY src/${name})
  endif()
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/${arg_DIRECTORY}/*.cpp)
  add_library(librt_${name} OBJECT ${sources} ${arg_SOURCES})
  set_target_properties(librt_${name} PROPERTIES POSITION_INDEPENDENT_CODE ON CXX_VISIBILITY_PRESET hidden
                                                 VISIBILITY_INLINES_HIDDEN ON UNITY_BUILD OFF)
  # The headers that kernels share with the host include each other by their names below kernels/, as NVRTC knows them.
  target_include_directories(librt_${name} PRIVATE ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/include
                                                   ${PROJECT_SOURCE_DIR}/kernels
                                                   ${PROJECT_BINARY_DIR}/include)
  target_compile_options(librt_${name} PRIVATE ${LIBRT_COMPILE_OPTIONS})
  target_link_libraries(librt_${name} PRIVATE ${arg_DEPENDS})
  # Half of the build's time would otherwise go into reading these again for every file.
  target_precompile_headers(librt_${name} PRIVATE <algorithm> <fmt/format.h> <functional> <memory> <string> <vector>)
  list(APPEND LIBRT_LAYER_OBJECTS $<TARGET_OBJECTS:librt_${name}>)
  set(LIBRT_LAYER_OBJECTS ${LIBRT_LAYER_OBJECTS} PARENT_SCOPE)
endfunction()
