#pragma once

#include <vector>

#include "coordinator/masks/mask_runs.h"

namespace lapidary {

/// The outer contours of a mask, each as x, y, x, y, …: clockwise along the edges of pixels, a corner at each
/// turn, from the upper left one of its topmost row on. Pixels belong together that share an edge. Filled,
/// the contours give the mask without its holes.
std::vector<std::vector<double>> outer_contours(const MaskRuns& runs);

}  // namespace lapidary
