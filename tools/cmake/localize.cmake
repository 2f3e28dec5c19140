# The static library as one object, libsodium in it, whose global symbols are what liblibrt.so exports: a program with a
# second librt, or with its own fmt, spdlog, nlohmann-json or libsodium, never has ours and its own mixed.
# GNU's tools, of the target that is built for, whatever the compiler links with.
find_program(LIBRT_LD NAMES ${CMAKE_LIBRARY_ARCHITECTURE}-ld.bfd ld.bfd ld REQUIRED)
find_program(LIBRT_OBJCOPY NAMES ${CMAKE_LIBRARY_ARCHITECTURE}-objcopy objcopy REQUIRED)
mark_as_advanced(LIBRT_LD LIBRT_OBJCOPY)

set(LIBRT_LOCALIZED_OBJECT ${PROJECT_BINARY_DIR}/generated/librt.o)

file(STRINGS ${PROJECT_SOURCE_DIR}/tools/cmake/librt.map exported REGEX "^ +_Z")
list(TRANSFORM exported REPLACE "[ ;]" "")
list(JOIN exported "\n" exported)
file(CONFIGURE OUTPUT ${PROJECT_BINARY_DIR}/generated/exported_symbols CONTENT "${exported}\n" @ONLY)

# CMake counts precompiled headers among the objects here.
set(objects "$<FILTER:${LIBRT_LAYER_OBJECTS},EXCLUDE,[.][gp]ch>")

# Groups are allocated first: their members' names are local afterwards, and could not be merged by the linker.
add_custom_command(
  OUTPUT ${LIBRT_LOCALIZED_OBJECT}
  COMMAND ${LIBRT_LD} -r --force-group-allocation -o ${LIBRT_LOCALIZED_OBJECT}.global "${objects}"
          ${LIBRT_SODIUM_LIBRARY}
  COMMAND ${LIBRT_OBJCOPY} --localize-hidden --wildcard
          --keep-global-symbols=${PROJECT_BINARY_DIR}/generated/exported_symbols ${LIBRT_LOCALIZED_OBJECT}.global
          ${LIBRT_LOCALIZED_OBJECT}
  COMMAND ${CMAKE_COMMAND} -E rm ${LIBRT_LOCALIZED_OBJECT}.global
  DEPENDS "${objects}" ${LIBRT_SODIUM_LIBRARY} ${PROJECT_BINARY_DIR}/generated/exported_symbols
  COMMENT "Making librt's own symbols local"
  COMMAND_EXPAND_LISTS VERBATIM)
set_source_files_properties(${LIBRT_LOCALIZED_OBJECT} PROPERTIES EXTERNAL_OBJECT ON GENERATED ON)
