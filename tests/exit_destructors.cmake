# No object of the library's with static storage needs its destructor at exit: other threads may still use it then.
# Run as cmake -DNM=<nm> -DARCHIVE=<librt_core> -P exit_destructors.cmake; fails naming the object file.
cmake_minimum_required(VERSION 3.25)

execute_process(COMMAND ${NM} --print-file-name --undefined-only ${ARCHIVE} OUTPUT_VARIABLE symbols
                COMMAND_ERROR_IS_FATAL ANY)
string(REGEX MATCHALL "[^\n]+\n" lines "${symbols}")
list(LENGTH lines num_lines)
if(num_lines LESS 1000)
  message(FATAL_ERROR "${ARCHIVE} has only ${num_lines} undefined symbols: this checks nothing")
endif()
# What runs when a thread ends is one thing on purpose: see src/jit/exit_gate.hpp.
list(FILTER lines INCLUDE REGEX " (__cxa_atexit|__cxa_thread_atexit)\n$")
list(FILTER lines EXCLUDE REGEX "exit_gate\\.cpp\\.o: +U __cxa_thread_atexit")
if(lines)
  message(FATAL_ERROR "destructors that run at exit are registered by\n${lines}"
                      "Let the object live for ever: static T& it = *new T;")
endif()
