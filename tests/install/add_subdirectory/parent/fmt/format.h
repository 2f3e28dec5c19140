#error "the fmt of the parent was taken for that of librt"
