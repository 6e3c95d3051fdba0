//! Names of a schema's top level, and excerpts.

#[path = "../../../src/format/schema/excerpt.rs"]
mod excerpt;
#[path = "../../../src/format/schema/shape.rs"]
mod shape;

pub(crate) use excerpt::{cut, got};
pub use shape::Shape;

#[derive(Default)]
pub struct Schema(Shape);

impl Schema {
    pub fn new(properties: serde_json::Value) -> Self {
        Self(Shape::of(&serde_json::json!({ "properties": properties })))
    }

    pub fn shape(&self) -> &Shape {
        &self.0
    }
}
