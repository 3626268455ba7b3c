#pragma once

#include <cstdio>

// jpeglib.h needs stdio's FILE and size_t before it.
#include <jpeglib.h>

namespace lapidary {

/// Guesses the finest coefficients that a progressive JPEG's scans have not brought (it was cut) from the
/// means of the blocks around, as libjpeg-turbo 3 and so Pillow 13 do: their picture is then smooth where it
/// would show blocks. Does nothing to a picture whose scans are all there.
///
/// libjpeg-turbo 2.1 guesses too, but takes other neighbours at the edges of subsampled and of narrow
/// pictures; it is told not to (`do_block_smoothing`).
///
/// `info` is in buffered-image mode, all its input has been consumed and no output pass has begun. Fails as
/// libjpeg does, by `error_exit`, and holds nothing with a destructor. Takes 2 bytes of libjpeg's memory for
/// each block.
void smooth_blocks(jpeg_decompress_struct& info);

}  // namespace lapidary
