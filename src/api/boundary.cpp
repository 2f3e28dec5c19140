#include "src/api/boundary.hpp"

#include <librt/error.hpp>

#include <cxxabi.h>
#include <fmt/format.h>

#include <new>

namespace librt::api {

void leave_with_exception() {
  try {
    throw;
  } catch (const Error&) {
    throw;
  } catch (const std::bad_alloc&) {
    throw;
  } catch (const CallersException& callers) {
    std::rethrow_exception(callers.thrown);
  } catch (const abi::__forced_unwind&) {  // pthread_cancel
    throw;
  } catch (const std::exception& error) {
    throw Error(ErrorCode::internal, fmt::format("an exception that librt did not expect: {}", error.what()));
  } catch (...) {
    throw Error(ErrorCode::internal, "an exception of a type that librt does not know");
  }
}

}  // namespace librt::api
