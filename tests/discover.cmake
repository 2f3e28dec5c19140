# Each case of a Catch2 executable as a ctest entry of its own: `ctest -R '^unit:A plan'`, `ctest -R ^contract`.
# A case that prints "skipped: REASON" is counted as skipped.
include(${Catch2_DIR}/Catch.cmake)

# @param timeout of one case, in seconds; further arguments are properties of the tests
function(librt_discover_tests target prefix timeout)
  catch_discover_tests(${target} TEST_PREFIX "${prefix}:" PROPERTIES TIMEOUT ${timeout} SKIP_REGULAR_EXPRESSION
                                                                      "skipped: " ${ARGN})
endfunction()
