// SPDX-License-Identifier: MPL-2.0

//! Properties of both elements: each is one value, of its own, that begins at its default.

use gst::prelude::*;

fn element(name: &str) -> gst::Element {
    crate::common::init();
    gst::ElementFactory::make(name).build().expect("the element")
}

/// Those of the element's own class that can be set.
fn settable(element: &gst::Element) -> Vec<glib::ParamSpec> {
    let own = element.list_properties().into_iter().filter(|p| p.owner_type() == element.type_());
    own.filter(|p| p.flags().contains(glib::ParamFlags::READWRITE)).collect()
}

fn text(value: &glib::Value) -> String {
    format!("{value:?}")
}

/// In the range of every property of its type, and nobody's default.
fn another(property: &glib::ParamSpec) -> glib::Value {
    let kind = property.value_type();
    if let Some(class) = glib::EnumClass::with_type(kind) {
        return class.to_value(1).expect("two values");
    }
    match kind {
        glib::Type::STRING => "another".to_value(),
        glib::Type::BOOL => (!property.default_value().get::<bool>().expect("a flag")).to_value(),
        glib::Type::U32 => 17u32.to_value(),
        glib::Type::I32 => 17i32.to_value(),
        glib::Type::U64 => 17u64.to_value(),
        glib::Type::F32 => 0.25f32.to_value(),
        glib::Type::F64 => 0.25f64.to_value(),
        kind => panic!("{}: {kind}", property.name()),
    }
}

#[test]
fn properties_begin_at_their_defaults() {
    for name in ["sparseadv", "clipclassifier"] {
        let element = element(name);
        let properties = settable(&element);
        assert!(properties.len() >= 10, "{name}");
        for property in properties {
            let value = element.property_value(property.name());
            assert_eq!(text(&value), text(property.default_value()), "{name} {}", property.name());
        }
    }
}

#[test]
fn a_property_gives_back_what_is_set_and_sets_no_other() {
    for name in ["sparseadv", "clipclassifier"] {
        let element = element(name);
        let properties = settable(&element);
        let values = || properties.iter().map(|p| text(&element.property_value(p.name()))).collect::<Vec<_>>();
        let mut expected = values();
        for (place, property) in properties.iter().enumerate() {
            let value = another(property);
            assert_ne!(expected[place], text(&value), "{name} {}", property.name());
            element.set_property_from_value(property.name(), &value);
            expected[place] = text(&value);
            assert_eq!(values(), expected, "{name} {}", property.name());
        }
    }
}

#[test]
fn a_string_that_is_no_more_set_is_the_default_again() {
    for name in ["sparseadv", "clipclassifier"] {
        let element = element(name);
        for property in settable(&element).iter().filter(|p| p.value_type() == glib::Type::STRING) {
            element.set_property(property.name(), "another");
            element.set_property(property.name(), None::<&str>);
            let value = element.property_value(property.name());
            assert_eq!(text(&value), text(property.default_value()), "{name} {}", property.name());
        }
    }
}
