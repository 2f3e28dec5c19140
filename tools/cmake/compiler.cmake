# Which compilers can build librt. Also run by itself, with the two variables given: cmake -D... -P compiler.cmake
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  set(oldest 12)
elseif(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  set(oldest 16)
else()
  set(oldest 0)
endif()
if(CMAKE_CXX_COMPILER_VERSION VERSION_LESS oldest)
  message(FATAL_ERROR "librt needs g++ 12 or clang 16, or newer; ${CMAKE_CXX_COMPILER} is ${CMAKE_CXX_COMPILER_ID} "
                      "${CMAKE_CXX_COMPILER_VERSION}. Name another one with -DCMAKE_CXX_COMPILER=...")
endif()
