#error "the spdlog of the parent was taken for that of librt"
