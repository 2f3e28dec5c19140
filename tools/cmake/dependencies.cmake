# What librt is built with. All of it stays private: no user of the library meets any of these names. Of fmt, spdlog and
# nlohmann-json only headers are used, found as files: a package's targets would be the parent's business where librt is
# a part of another project, and Debian's spdlog links libfmt.so, which would reach every user.
find_package(Threads REQUIRED)

# librt_find_headers(VARIABLE FILE TARGET...): the directory of FILE, else that of the first TARGET that the parent has.
function(librt_find_headers variable file)
  find_path(${variable} ${file})
  mark_as_advanced(${variable})
  if(NOT ${variable})
    foreach(target IN LISTS ARGN)
      if(TARGET ${target})
        get_target_property(directories ${target} INTERFACE_INCLUDE_DIRECTORIES)
        set(${variable} ${directories} PARENT_SCOPE)
        return()
      endif()
    endforeach()
    message(FATAL_ERROR "${file} was not found: install the package that has it (CONTRIBUTING.md lists them), or give "
                        "its directory with -D${variable}=DIR")
  endif()
endfunction()

librt_find_headers(LIBRT_FMT_INCLUDE_DIR fmt/format.h fmt::fmt-header-only fmt::fmt)
librt_find_headers(LIBRT_SPDLOG_INCLUDE_DIR spdlog/spdlog.h spdlog::spdlog_header_only spdlog::spdlog)
librt_find_headers(LIBRT_JSON_INCLUDE_DIR nlohmann/json.hpp nlohmann_json::nlohmann_json)

# What fmt needs once in a program is in src/util/fmt_once.cpp.
add_library(librt_fmt INTERFACE)
target_include_directories(librt_fmt SYSTEM INTERFACE ${LIBRT_FMT_INCLUDE_DIR} ${LIBRT_SPDLOG_INCLUDE_DIR})
target_compile_definitions(librt_fmt INTERFACE SPDLOG_FMT_EXTERNAL=1)
target_link_libraries(librt_fmt INTERFACE Threads::Threads)

add_library(librt_json INTERFACE)
target_include_directories(librt_json SYSTEM INTERFACE ${LIBRT_JSON_INCLUDE_DIR})

# The static library, so that an engine's own libsodium never meets ours.
find_library(LIBRT_SODIUM_LIBRARY NAMES libsodium.a REQUIRED)
find_path(LIBRT_SODIUM_INCLUDE_DIR NAMES sodium.h REQUIRED)
mark_as_advanced(LIBRT_SODIUM_LIBRARY LIBRT_SODIUM_INCLUDE_DIR)
add_library(librt_sodium INTERFACE)
target_include_directories(librt_sodium SYSTEM INTERFACE ${LIBRT_SODIUM_INCLUDE_DIR})
target_link_libraries(librt_sodium INTERFACE ${LIBRT_SODIUM_LIBRARY})
