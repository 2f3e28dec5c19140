# What `cmake --install` puts where: library, headers, manifests, tool, and the files that find_package and
# pkg-config read. Everything is found relative to these files, so the prefix may be moved.
include(CMakePackageConfigHelpers)

set(librt_package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/librt)

install(TARGETS librt EXPORT librtTargets
        LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
        ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
        INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/librt DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
        FILES_MATCHING PATTERN "*.hpp" PATTERN "*.h")
install(FILES ${PROJECT_BINARY_DIR}/include/librt/abi.hpp ${PROJECT_BINARY_DIR}/include/librt/version.hpp
        DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/librt)
# Not the kernel sources: they are in the library, and a directory of them outlives its version.
install(DIRECTORY ${PROJECT_SOURCE_DIR}/kernels/manifests DESTINATION ${CMAKE_INSTALL_DATADIR}/librt)
file(GLOB matrices CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/kernels/*/matrix.json)
foreach(matrix IN LISTS matrices)
  cmake_path(GET matrix PARENT_PATH folder)
  cmake_path(GET folder FILENAME name)
  install(FILES ${matrix} DESTINATION ${CMAKE_INSTALL_DATADIR}/librt/manifests RENAME ${name}.json)
endforeach()
if(TARGET librt-cli)
  install(TARGETS librt-cli RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()

install(EXPORT librtTargets NAMESPACE librt:: DESTINATION ${librt_package_dir})
configure_package_config_file(${PROJECT_SOURCE_DIR}/tools/cmake/librtConfig.cmake.in
                              ${PROJECT_BINARY_DIR}/librtConfig.cmake INSTALL_DESTINATION ${librt_package_dir})
# Before 1.0 a minor version may change the interface.
write_basic_package_version_file(${PROJECT_BINARY_DIR}/librtConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/librtConfig.cmake ${PROJECT_BINARY_DIR}/librtConfigVersion.cmake
        DESTINATION ${librt_package_dir})

file(RELATIVE_PATH LIBRT_PC_PREFIX /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
string(REGEX REPLACE "/$" "" LIBRT_PC_PREFIX "${LIBRT_PC_PREFIX}")
configure_file(${PROJECT_SOURCE_DIR}/tools/cmake/librt.pc.in ${PROJECT_BINARY_DIR}/librt.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/librt.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
