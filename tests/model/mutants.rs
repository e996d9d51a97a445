//! Each rule dropped, one at a time: then something is lost, and the shortest way there is told.
