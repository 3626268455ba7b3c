#include "kernels/cuda/matmul/matmul_parts.cuh"

// Products of few rows: what counts is that the weight streams from memory at full speed. Each warp reads 16
// or 32 channels, straight to registers, one stage of loads ahead of the sums; x comes through shared memory
// in chunks of columns, one chunk ahead. A block computes one unit of the sum for its channels.

namespace lapidary::cuda {
namespace {

/// Shape of a block for 8 * kTiles rows. Few rows leave x small: smaller blocks then share the work evenly.
/// Many rows make reading x from shared memory the limit: a warp takes two sets of 16 channels then.
template <int kTiles>
struct BlockShape {
  static constexpr int kRows = 8 * kTiles;
  static constexpr int kThreads = kTiles <= 4 ? 128 : 256;
  static constexpr int kBlocks = kTiles <= 2 ? 4 : kTiles == 4 ? 2 : 1;  // of a multiprocessor
  static constexpr int kSets = kTiles <= 2 ? 1 : 2;
  static constexpr int kWarpChannels = 16 * kSets;
  static constexpr int kChannels = kThreads / 32 * kWarpChannels;
  static constexpr int kChunk = kTiles == 1 ? 1024 : kTiles < 8 ? 512 : 256;  // columns of x
  static constexpr int kChunkElements = kRows * kChunk;
  static constexpr int kSums = kSets * kTiles;  // fragments of a warp: [kSets][kTiles]
};

template <class W, int kTiles, bool kAligned>
struct SkinnyKernel {
  using Shape = BlockShape<kTiles>;
  // Blocks of the weight in a stage: as many as registers allow, 8 or 16 reads of 16 bytes.
  static constexpr int kDepth = !kAligned ? 1 : kTiles == 8 ? 2 : 4;
  static constexpr int kStage = kDepth * W::kBlock;  // columns
  static_assert(Shape::kChunk % (2 * kStage) == 0 && kPieceStep % kStage == 0);
  static constexpr int kRuns = Shape::kChunk / 8, kStep = Shape::kThreads / kRuns;  // bring_chunk()
  struct Stage {
    uint4 low[Shape::kSets][kDepth], high[Shape::kSets][kDepth];  // channels lane / 4 and lane / 4 + 8
  };

  const ProductArgs& p;
  const int begin, columns, pieces;  // of the unit
  const int warp, lane;
  uint16_t* const shared;  // two chunks of x, each [kChunk / 32][kRows][32]; sums [4 * kSums][kThreads]
  const std::byte* low[Shape::kSets];  // rows of w from the unit's first column on
  int high[Shape::kSets];              // bytes to the row 8 channels on

  __device__ SkinnyKernel(const ProductArgs& product, const SumUnits& units, int unit)
      : p(product),
        begin(units.cuts[unit]),
        columns(units.columns(unit)),
        pieces(units.pieces(unit)),
        warp(static_cast<int>(threadIdx.x) / 32),
        lane(static_cast<int>(threadIdx.x) % 32),
        shared(shared_memory<uint16_t>()) {
    const int64_t channel = first_channel() + lane / 4, last = p.out - 1;
    const int64_t at = int64_t{begin} * sizeof(typename W::Element);
    // Behind the last channel it is read again; what comes of it is not written.
    for (int s = 0; s < Shape::kSets; ++s) {
      const int64_t first_row = min(channel + 16 * s, last), second = min(channel + 16 * s + 8, last);
      low[s] = p.w + first_row * p.w_pitch + at;
      high[s] = static_cast<int>((second - first_row) * p.w_pitch);
    }
  }

  __device__ float* shared_sums() const {
    return reinterpret_cast<float*>(shared + 2 * Shape::kChunkElements);
  }
  __device__ int64_t first_channel() const {
    return int64_t{blockIdx.x} * Shape::kChannels + warp * Shape::kWarpChannels;
  }

  /// Begins to bring a chunk of x to its place, rounded to bf16; zeros behind the last row and column. The
  /// 16 bytes that lane t of a row multiplies with its part i lie at [part's 32 columns][row][8t]. A thread
  /// brings the same columns of every kStep-th row. Loops are kept as loops: their addresses, worked out
  /// ahead, would crowd out the weight.
  __device__ void bring_chunk(int chunk) const {
    constexpr int kOfBlock = W::kBlock / 8;
    const int run = static_cast<int>(threadIdx.x) % kRuns, first = static_cast<int>(threadIdx.x) / kRuns;
    const int part = run / kOfBlock * W::kParts + run % W::kParts, t = run % kOfBlock / W::kParts;
    uint16_t* to = shared + chunk % 2 * Shape::kChunkElements + (part * Shape::kRows + first) * 32 + t * 8;
    const int k = chunk * Shape::kChunk + run * 8;
    if (k < (columns + W::kBlock - 1) / W::kBlock * W::kBlock) {
      if (!p.x_vector) {
#pragma unroll 1
        for (int row = first; row < Shape::kRows; row += kStep, to += kStep * 32) round_x(to, row, k);
      } else if (p.x_dtype == DType::bf16) {
        const uint16_t* x = static_cast<const uint16_t*>(p.x) + begin + k + first * p.x_stride;
#pragma unroll 2
        for (int row = first; row < Shape::kRows; row += kStep, to += kStep * 32, x += kStep * p.x_stride)
          ptx::copy_async(to, x, row < p.rows && k < columns);
      } else {
        bring_floats(to, first, k);
      }
    }
    ptx::commit_copies();
  }

  __device__ __forceinline__ void bring_floats(uint16_t* to, int first, int k) const {
    constexpr int kBatch = 4;  // rows whose reads are under way
    static_assert(Shape::kRows % (kBatch * kStep) == 0);
    const float* x = static_cast<const float*>(p.x) + begin + k + first * p.x_stride;
#pragma unroll 1
    for (int row = first; row < Shape::kRows; row += kBatch * kStep) {
      float4 left[kBatch], right[kBatch];
#pragma unroll
      for (int i = 0; i < kBatch; ++i, x += kStep * p.x_stride) {
        left[i] = right[i] = make_float4(0, 0, 0, 0);
        if (row + i * kStep >= p.rows || k >= columns) continue;
        left[i] = reinterpret_cast<const float4*>(x)[0];
        right[i] = reinterpret_cast<const float4*>(x)[1];
      }
#pragma unroll
      for (int i = 0; i < kBatch; ++i, to += kStep * 32)
        *reinterpret_cast<uint4*>(to) =
            make_uint4(ptx::pack_bf16(left[i].x, left[i].y), ptx::pack_bf16(left[i].z, left[i].w),
                       ptx::pack_bf16(right[i].x, right[i].y), ptx::pack_bf16(right[i].z, right[i].w));
    }
  }

  /// Eight elements one by one: any alignment, any end.
  __device__ void round_x(uint16_t* to, int row, int k) const {
    const int64_t at = row * p.x_stride + begin + k;
#pragma unroll 1
    for (int i = 0; i < 8; ++i) {
      if (row >= p.rows || k + i >= columns) {
        to[i] = 0;
      } else if (p.x_dtype == DType::f32) {
        to[i] = to_bf16(static_cast<const float*>(p.x)[at + i]);
      } else {
        to[i] = static_cast<const uint16_t*>(p.x)[at + i];
      }
    }
  }

  __device__ uint4 read_weight(const std::byte* row, int k) const {
    constexpr int kBytes = static_cast<int>(sizeof(typename W::Element)), kCount = 16 / kBytes;
    if constexpr (kAligned) {
      return k < columns ? ptx::load_once(row + int64_t{k} * kBytes) : make_uint4(0, 0, 0, 0);
    } else {
      const auto* from = reinterpret_cast<const typename W::Element*>(row);
      uint32_t words[4] = {};
#pragma unroll
      for (int i = 0; i < kCount; ++i) {
        const uint32_t bits = k + i < columns ? from[k + i] : 0;
        words[i * kBytes / 4] |= bits << (i * kBytes % 4 * 8);
      }
      return make_uint4(words[0], words[1], words[2], words[3]);
    }
  }

  /// The lane's bytes of columns [first, first + kStage).
  __device__ __forceinline__ void load(Stage& stage, int first) const {
#pragma unroll
    for (int b = 0; b < kDepth; ++b) {
      const int k = first + b * W::kBlock + lane % 4 * (W::kBlock / 4);
#pragma unroll
      for (int s = 0; s < Shape::kSets; ++s) {
        stage.low[s][b] = read_weight(low[s], k);
        stage.high[s][b] = read_weight(low[s] + high[s], k);
      }
    }
  }

  /// The next kPrefetch bytes of each row of the weight, from column `first` on, as far as the unit goes.
  __device__ __forceinline__ void prefetch(int first) const {
    constexpr int kLine = 128, kPrefetch = 1024, kBytes = static_cast<int>(sizeof(typename W::Element));
    const int end = min(columns * kBytes, first * kBytes + kPrefetch);
    for (int at = first * kBytes + lane % 4 * kLine; at < end; at += 4 * kLine) {
#pragma unroll
      for (int s = 0; s < Shape::kSets; ++s) {
        ptx::prefetch(low[s] + at);
        ptx::prefetch(low[s] + high[s] + at);
      }
    }
  }

  __device__ __forceinline__ void multiply(float (&sums)[Shape::kSums][4], const Stage& stage,
                                           int first) const {
    const uint16_t* x = shared + first / Shape::kChunk % 2 * Shape::kChunkElements +
                        (first % Shape::kChunk * Shape::kRows + lane / 4 * 32) + lane % 4 * 8;
#pragma unroll
    for (int b = 0; b < kDepth; ++b) {
      if (first + b * W::kBlock >= columns) break;
#pragma unroll
      for (int part = 0; part < W::kParts; ++part) {
        uint4 w[Shape::kSets][2];
#pragma unroll
        for (int s = 0; s < Shape::kSets; ++s) {
          w[s][0] = W::part(stage.low[s][b], part);
          w[s][1] = W::part(stage.high[s][b], part);
        }
#pragma unroll
        for (int t = 0; t < kTiles; ++t) {
          const int at = ((b * W::kParts + part) * Shape::kRows + 8 * t) * 32;
          const uint4 rows = *reinterpret_cast<const uint4*>(x + at);
#pragma unroll
          for (int s = 0; s < Shape::kSets; ++s) multiply_part(sums[s * kTiles + t], w[s][0], w[s][1], rows);
        }
      }
    }
  }

  /// Ends piece `done`: its sums join those of the pieces before, which wait in shared memory, as
  /// registers are what this kernel is short of. After the last piece `sums` are the unit's.
  __device__ __forceinline__ void end_piece(float (&sums)[Shape::kSums][4], int done) const {
    float* before = shared_sums() + threadIdx.x;
#pragma unroll
    for (int t = 0; t < Shape::kSums; ++t) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        float* at = before + (4 * t + i) * Shape::kThreads;
        const float sum = done > 0 ? *at + sums[t][i] : sums[t][i];
        if (done < pieces - 1) *at = sum;
        sums[t][i] = done < pieces - 1 ? 0 : sum;
      }
    }
  }

  /// The unit's sums: pieces from left to right.
  __device__ __forceinline__ void run(float (&sums)[Shape::kSums][4]) const {
    int done = 0, end = piece_begin(columns, pieces, 1);
    Stage even, odd;
    // The weight waits for nobody: what registers hold of it comes first, then some more to the second cache.
    load(even, 0);
    prefetch(kStage);
    ptx::wait_for_previous();
    if (columns > 0) bring_chunk(0);
    const auto step = [&](int first, const Stage& here, Stage& ahead) {
      load(ahead, first + kStage);
      multiply(sums, here, first);
      if (first + kStage < end || pieces == 1) return;
      end_piece(sums, done);
      end = piece_begin(columns, pieces, ++done + 1);
    };
    for (int first = 0; first < columns; first += 2 * kStage) {
      if (first % Shape::kChunk == 0) {
        ptx::wait_copies<0>();
        __syncthreads();  // the chunk is there for all, and the one before it has been read by all
        if (first + Shape::kChunk < columns) bring_chunk(first / Shape::kChunk + 1);
      }
      step(first, even, odd);
      if (first + kStage < columns) step(first + kStage, odd, even);
    }
  }
};

/// Rows whose units' sums, `channels` of each, are merged at a time.
constexpr int merged_rows(int units, int channels) {
  constexpr int kBytes = 48 << 10;
  return kBytes / (units * channels * static_cast<int>(sizeof(float)));
}

/// grid [channel tiles, units]; tickets: null, or one a channel tile.
template <class W, int kTiles, bool kAligned>
__global__ void __launch_bounds__(BlockShape<kTiles>::kThreads, BlockShape<kTiles>::kBlocks)
    skinny_kernel(EarlyStart, ProductArgs p, SumUnits units, uint32_t* tickets) {
  ptx::let_next_start();
  using Shape = BlockShape<kTiles>;
  const int unit = static_cast<int>(blockIdx.y);
  const SkinnyKernel<W, kTiles, kAligned> block(p, units, unit);
  float sums[Shape::kSums][4] = {};
  block.run(sums);
  put_sums<kTiles>(p, unit, 0, block.first_channel(), sums);
  if (tickets == nullptr) return;
  __threadfence();
  __syncthreads();
  auto* last = shared_memory<uint32_t>();
  if (threadIdx.x == 0) *last = atomicAdd(tickets + blockIdx.x, uint32_t{1}) + 1 == gridDim.y ? 1 : 0;
  __syncthreads();
  const bool mine = *last != 0;
  __syncthreads();
  if (!mine) return;
  __threadfence();
  if (threadIdx.x == 0) tickets[blockIdx.x] = 0;
  const int rows = static_cast<int>(p.rows), at_once = merged_rows(units.count, Shape::kChannels);
  for (int row = 0; row < rows; row += at_once) {
    if (row > 0) __syncthreads();  // the sums before these have been read by all
    merge_tile(p, units, shared_memory<float>(), row, min(at_once, rows - row),
               int64_t{blockIdx.x} * Shape::kChannels, Shape::kChannels);
  }
}

template <class W, int kTiles, bool kAligned>
void start(Stream stream, const ProductArgs& p, const SumUnits& units, uint32_t* tickets) {
  using Shape = BlockShape<kTiles>;
  bool two_chunks = false, pieces = false;
  for (int u = 0; u < units.count; ++u) {
    pieces = pieces || units.pieces(u) > 1;
    two_chunks = two_chunks || pieces || units.columns(u) > Shape::kChunk;  // sums lie behind the second
  }
  size_t bytes = size_t{Shape::kChunkElements} * sizeof(uint16_t) * (two_chunks ? 2 : 1);
  if (pieces) bytes += size_t{4} * Shape::kSums * Shape::kThreads * sizeof(float);
  if (tickets != nullptr) {
    const int rows = min(static_cast<int>(p.rows), merged_rows(units.count, Shape::kChannels));
    bytes = max(bytes, static_cast<size_t>(rows * units.count * Shape::kChannels) * sizeof(float));
  }
  const auto tiles = static_cast<unsigned>((p.out + Shape::kChannels - 1) / Shape::kChannels);
  launch(stream, dim3(tiles, static_cast<unsigned>(units.count)), Shape::kThreads, bytes,
         skinny_kernel<W, kTiles, kAligned>, p, units, tickets);
}

template <class W>
void start(Stream stream, const ProductArgs& p, const SumUnits& units, bool aligned, uint32_t* tickets) {
  if (!aligned) return start<W, 1, false>(stream, p, units, tickets);
  if (p.rows <= 8) return start<W, 1, true>(stream, p, units, tickets);
  if (p.rows <= 16) return start<W, 2, true>(stream, p, units, tickets);
  if (p.rows <= 32) return start<W, 4, true>(stream, p, units, tickets);
  start<W, 8, true>(stream, p, units, tickets);
}

}  // namespace

int skinny_channels(int64_t rows) { return rows <= 16 ? 64 : rows <= 32 ? 128 : 256; }

// At 4.3 TB/s an H200's multiprocessor takes 33 bytes a nanosecond, and a read lasts about 800: 26 KB have to
// be under way. A block has one to two stages, of 16 KB up to 16 rows, of 32 KB from there on.
int skinny_blocks(int64_t rows) { return rows <= 16 ? 2 : 1; }

// Merging in two goes takes as long as the start of a kernel that would do it.
bool skinny_can_merge(int64_t rows, int units) {
  return rows <= 2 * merged_rows(units, skinny_channels(rows));
}

void skinny_product(Stream stream, const ProductArgs& p, const SumUnits& units, bool aligned,
                    uint32_t* tickets) {
  if (p.w_dtype == DType::e4m3) return start<E4m3Weight>(stream, p, units, aligned, tickets);
  start<Bf16Weight>(stream, p, units, aligned, tickets);
}

}  // namespace lapidary::cuda
