# What librt is built with. All of it stays private: no user of the library meets any of these names.
find_package(Threads REQUIRED)
find_package(fmt REQUIRED)
find_package(spdlog REQUIRED)
find_package(nlohmann_json REQUIRED)

# fmt and spdlog from their headers. Debian's own header-only target of spdlog links libfmt.so, which would reach every
# user. What fmt needs once is in src/util/fmt_once.cpp, which knows fmt 9; another fmt goes into every file.
add_library(librt_fmt INTERFACE)
foreach(package IN ITEMS fmt::fmt-header-only spdlog::spdlog_header_only)
  get_target_property(directories ${package} INTERFACE_INCLUDE_DIRECTORIES)
  if(directories)
    target_include_directories(librt_fmt SYSTEM INTERFACE ${directories})
  endif()
endforeach()
target_compile_definitions(librt_fmt INTERFACE SPDLOG_FMT_EXTERNAL=1)
if(fmt_VERSION VERSION_LESS 9 OR fmt_VERSION VERSION_GREATER_EQUAL 10)
  target_compile_definitions(librt_fmt INTERFACE FMT_HEADER_ONLY=1)
endif()
target_link_libraries(librt_fmt INTERFACE Threads::Threads)

# The static library, so that an engine's own libsodium never meets ours.
find_library(LIBRT_SODIUM_LIBRARY NAMES libsodium.a REQUIRED)
find_path(LIBRT_SODIUM_INCLUDE_DIR NAMES sodium.h REQUIRED)
add_library(librt_sodium INTERFACE)
target_include_directories(librt_sodium SYSTEM INTERFACE ${LIBRT_SODIUM_INCLUDE_DIR})
target_link_libraries(librt_sodium INTERFACE ${LIBRT_SODIUM_LIBRARY})
