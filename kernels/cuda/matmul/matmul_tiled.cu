#include "kernels/cuda/matmul/matmul_parts.cuh"

// Products of many rows. A block of 8 warps computes 128 channels x 128 rows of one unit; a warp 64 x 32.
// Four stages of 64 bytes of each row are under way in shared memory. Rows of 64 bytes without padding are
// what the fragments' 16-byte reads want: eight lanes read two whole rows, 128 bytes in a run, so no two meet
// in a bank.

namespace lapidary::cuda {
namespace {

constexpr int kThreads = 256, kStages = 4;
constexpr int kRowBytes = 64, kPlane = kTileSide * kRowBytes;  // bytes: 128 rows of a stage
// Tiles are taken in bands of so many row tiles: a wave of blocks is nearly square and reads little twice.
constexpr int kBand = 8;

struct Tile {
  int64_t channel, row;
};

/// The tile of block `index`: within a band of row tiles, channel tile by channel tile.
__device__ Tile tile_of(const ProductArgs& p, int64_t index) {
  const int64_t channels = (p.out + kTileSide - 1) / kTileSide, rows = (p.rows + kTileSide - 1) / kTileSide;
  const int64_t band = index / (kBand * channels) * kBand, left = rows - band;
  const int64_t height = left < kBand ? left : kBand, inside = index % (kBand * channels);
  return {inside / height * kTileSide, (band + inside % height) * kTileSide};
}

template <class W>
struct TiledKernel {
  static constexpr int kStageBytes = kPlane * (1 + W::kParts);  // the weight's plane, then x's
  static constexpr int kElements = 16 / static_cast<int>(sizeof(typename W::Element));  // of 16 bytes

  const ProductArgs& p;
  const Tile tile;
  const int begin, columns, pieces;  // of the unit
  unsigned char* const shared;

  /// Begins to bring block `b` of the columns to its stage. x's part i of lane t lies at [i][row][8t]. A
  /// thread brings the same 16 bytes of rows that lie kThreads / (reads of a row) apart.
  __device__ __forceinline__ void bring(int b) const {
    constexpr int kRuns = 4 * W::kParts, kSize = static_cast<int>(sizeof(typename W::Element));
    const int thread = static_cast<int>(threadIdx.x), first = b * W::kBlock;
    unsigned char* to = shared + b % kStages * kStageBytes;
    const int of_w = first + thread % 4 * kElements, of_x = first + thread % kRuns * 8;
    const int64_t channel = tile.channel + thread / 4, row = tile.row + thread / kRuns;
    const std::byte* w = p.w + channel * p.w_pitch + int64_t{begin + of_w} * kSize;
#pragma unroll
    for (int i = 0; i < kTileSide; i += kThreads / 4)
      ptx::copy_async(to + thread * 16 + i * kRowBytes, w + i * p.w_pitch,
                      channel + i < p.out && of_w < columns);
    const auto* x = static_cast<const uint16_t*>(p.x) + row * p.x_stride + begin + of_x;
    to += (1 + thread % W::kParts) * kPlane + thread / kRuns * kRowBytes + thread % kRuns / W::kParts * 16;
#pragma unroll
    for (int i = 0; i < kTileSide; i += kThreads / kRuns)
      ptx::copy_async(to + i * kRowBytes, x + i * p.x_stride, row + i < p.rows && of_x < columns);
  }

  /// sums += w · x over the block in stage `b`.
  __device__ __forceinline__ void multiply(float (&sums)[16][4], int b) const {
    const int thread = static_cast<int>(threadIdx.x), warp = thread / 32, lane = thread % 32;
    const unsigned char* stage = shared + b % kStages * kStageBytes + lane * 16;
    const unsigned char* w = stage + warp / 4 * (64 * kRowBytes);
    const unsigned char* x = stage + kPlane + warp % 4 * (32 * kRowBytes);
#pragma unroll
    for (int part = 0; part < W::kParts; ++part) {
      uint4 rows[4];
#pragma unroll
      for (int t = 0; t < 4; ++t)
        rows[t] = *reinterpret_cast<const uint4*>(x + part * kPlane + t * 8 * kRowBytes);
#pragma unroll
      for (int c = 0; c < 4; ++c) {
        const uint4 low = W::part(*reinterpret_cast<const uint4*>(w + c * 16 * kRowBytes), part);
        const uint4 high = W::part(*reinterpret_cast<const uint4*>(w + (c * 16 + 8) * kRowBytes), part);
#pragma unroll
        for (int t = 0; t < 4; ++t) multiply_part(sums[4 * c + t], low, high, rows[t]);
      }
    }
  }

  /// Adds a finished piece to the sum of those before it.
  __device__ __forceinline__ void end_piece(float (&sum)[16][4], float (&piece)[16][4], bool first) const {
#pragma unroll
    for (int f = 0; f < 16; ++f) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        sum[f][i] = first ? piece[f][i] : sum[f][i] + piece[f][i];
        piece[f][i] = 0;
      }
    }
  }

  /// The unit's sums of the tile: pieces from left to right.
  __device__ __forceinline__ void run(float (&sum)[16][4]) const {
    float piece[16][4] = {};
    const int blocks = (columns + W::kBlock - 1) / W::kBlock;
    int done = 0, end = piece_begin(columns, pieces, 1);
    for (int b = 0; b < kStages - 1; ++b) {
      if (b < blocks) bring(b);
      ptx::commit_copies();
    }
    for (int b = 0; b < blocks; ++b) {
      ptx::wait_copies<kStages - 2>();
      __syncthreads();  // block b is there for all, and the one before it has been read by all
      if (b + kStages - 1 < blocks) bring(b + kStages - 1);
      ptx::commit_copies();
      multiply(piece, b);
      if ((b + 1) * W::kBlock < end) continue;
      end_piece(sum, piece, done == 0);
      end = piece_begin(columns, pieces, ++done + 1);
    }
  }
};

/// grid [tiles, units]
template <class W>
__global__ void __launch_bounds__(kThreads, 1) tiled_kernel(EarlyStart, ProductArgs p, SumUnits units) {
  ptx::follow_previous();
  const int unit = static_cast<int>(blockIdx.y), begin = units.cuts[unit];
  const Tile tile = tile_of(p, blockIdx.x);
  const TiledKernel<W> block{
      p, tile, begin, units.columns(unit), units.pieces(unit), shared_memory<unsigned char>()};
  float sum[16][4] = {};
  block.run(sum);
  const int warp = static_cast<int>(threadIdx.x) / 32;
  put_sums<4>(p, unit, tile.row + warp % 4 * 32, tile.channel + warp / 4 * 64, sum);
}

template <class W>
void start(Stream stream, const ProductArgs& p, const SumUnits& units) {
  const int64_t tiles = (p.out + kTileSide - 1) / kTileSide * ((p.rows + kTileSide - 1) / kTileSide);
  launch(stream, dim3(static_cast<unsigned>(tiles), static_cast<unsigned>(units.count)), kThreads,
         size_t{kStages} * TiledKernel<W>::kStageBytes, tiled_kernel<W>, p, units);
}

}  // namespace

void tiled_product(Stream stream, const ProductArgs& p, const SumUnits& units) {
  if (p.w_dtype == DType::e4m3) return start<E4m3Weight>(stream, p, units);
  start<Bf16Weight>(stream, p, units);
}

}  // namespace lapidary::cuda
