//! The bodies of the fuzz targets, which run over their corpora as plain tests too.

pub mod bodies;
pub mod flows;
