// What a directory is good for, found out by trying.
#pragma once

#include <string>

#include "src/cache/directory.hpp"

namespace librt::cache {

struct Probe {
  std::string file_system;    // "ext4", "nfs"; a number in hexadecimal where the name is not known; empty if not known
  bool over_network = false;  // other machines may see what is published late
  std::string write_problem;  // why no file can be made in it; empty if one can
  std::string lock_problem;   // why flock does not keep a second process out; empty if it does
};

/// Makes a temporary file in the directory, locks it twice, and removes it. Asks nobody whether it may be trusted: the
/// parent of a cache that does not exist yet is anybody's.
Probe probe(const std::string& directory, IoOps& io = system_io());

/// The directory, or the nearest one above that exists. Throws std::runtime_error if that is no directory, or cannot be
/// looked at.
std::string nearest_existing(std::string path);

/// Why nothing can be stored in this root, which need not exist yet; empty if something can.
std::string store_problem(const std::string& root, const Access& access);

}  // namespace librt::cache
