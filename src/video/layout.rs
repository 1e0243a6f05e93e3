// SPDX-License-Identifier: MPL-2.0

//! Where the samples of a raw video frame lie, and what colors they stand for. Holds no reference to GStreamer: the
//! element fills it from the caps.

/// One component (R, G, B, Y, U or V) of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Component {
    /// The plane it lies in.
    pub plane: usize,
    /// Byte offset of its first sample in the plane.
    pub offset: usize,
    /// Bytes from one sample of a row to the next.
    pub pixel_stride: usize,
    /// log2 of the horizontal and vertical subsampling.
    pub shift_x: u32,
    pub shift_y: u32,
}

/// How components stand for colors.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Color {
    /// R, G, B in this order, full range.
    Rgb,
    /// Y, U, V in this order, with the luma coefficients of the matrix.
    Yuv { kr: f32, kb: f32, full_range: bool },
    /// Y alone.
    Gray { full_range: bool },
}

/// BT.601's luma coefficients of red and blue; also the ones by which color perturbations become gray ones.
pub const BT601: (f32, f32) = (0.299, 0.114);
/// BT.709's.
pub const BT709: (f32, f32) = (0.2126, 0.0722);

/// A raw 8-bit frame format at one size.
#[derive(Clone, Debug, PartialEq)]
pub struct FrameLayout {
    pub width: usize,
    pub height: usize,
    pub components: Vec<Component>,
    pub color: Color,
}

impl FrameLayout {
    /// Whether chroma has fewer samples than luma, so that readers differ in what they make of it.
    pub fn is_subsampled(&self) -> bool {
        self.components.iter().any(|c| c.shift_x + c.shift_y > 0)
    }
}

/// The rows of a frame's planes, wherever they lie: bottom-up, in one piece of memory or in several.
pub trait Rows {
    /// Row `y` of a plane; what follows its last sample means nothing.
    fn row(&self, plane: usize, y: usize) -> &[u8];
}

/// The same, to write to.
pub trait RowsMut {
    fn row_mut(&mut self, plane: usize, y: usize) -> &mut [u8];
}

/// `(data, row stride)` a plane.
impl Rows for Vec<(&[u8], usize)> {
    fn row(&self, plane: usize, y: usize) -> &[u8] {
        let (data, stride) = self[plane];
        &data[y * stride..]
    }
}

impl RowsMut for Vec<(&mut [u8], usize)> {
    fn row_mut(&mut self, plane: usize, y: usize) -> &mut [u8] {
        let (data, stride) = &mut self[plane];
        &mut data[y * *stride..]
    }
}

/// The linear map between component values and gray levels 0..255 of R, G, B.
#[derive(Clone, Debug, PartialEq)]
pub struct Matrix {
    /// RGB = `to_rgb` * (component - `offset`).
    pub to_rgb: [[f32; 3]; 3],
    /// A change of RGB by d changes the components by `from_rgb` * d.
    pub from_rgb: [[f32; 3]; 3],
    pub offset: [f32; 3],
    /// Nominal range of each component.
    pub lo: [f32; 3],
    pub hi: [f32; 3],
}

impl Color {
    pub fn matrix(self) -> Matrix {
        const ONE: [[f32; 3]; 3] = [[1., 0., 0.], [0., 1., 0.], [0., 0., 1.]];
        let (kr, kb, full_range) = match self {
            Color::Rgb => return Matrix { to_rgb: ONE, from_rgb: ONE, offset: [0.0; 3], lo: [0.0; 3], hi: [255.0; 3] },
            Color::Yuv { kr, kb, full_range } => (kr, kb, full_range),
            Color::Gray { full_range } => (BT601.0, BT601.1, full_range),
        };
        let kg = 1.0 - kr - kb;
        // Bytes per unit of Y' in 0..1 and of Cb, Cr in -0.5..0.5 (ITU-R BT.601, BT.709).
        let (y_span, c_span, y_off) = if full_range { (255.0, 255.0, 0.0) } else { (219.0, 224.0, 16.0) };
        let (sy, sc) = (y_span / 255.0, c_span / 255.0);
        let y = [kr * sy, kg * sy, kb * sy];
        let (u, v) = (2.0 * (1.0 - kb), 2.0 * (1.0 - kr));
        if matches!(self, Color::Gray { .. }) {
            return Matrix {
                to_rgb: [[1.0 / sy, 0., 0.]; 3],
                from_rgb: [y, [0.0; 3], [0.0; 3]],
                offset: [y_off, 0.0, 0.0],
                lo: [y_off; 3],
                hi: [y_off + y_span; 3],
            };
        }
        Matrix {
            to_rgb: [
                [1.0 / sy, 0.0, v / sc],
                [1.0 / sy, -u * kb / kg / sc, -v * kr / kg / sc],
                [1.0 / sy, u / sc, 0.0],
            ],
            from_rgb: [
                y,
                [-kr / u * sc, -kg / u * sc, (1.0 - kb) / u * sc],
                [(1.0 - kr) / v * sc, -kg / v * sc, -kb / v * sc],
            ],
            offset: [y_off, 128.0, 128.0],
            lo: [y_off, if full_range { 0.0 } else { 16.0 }, if full_range { 0.0 } else { 16.0 }],
            hi: [y_off + y_span, if full_range { 255.0 } else { 240.0 }, if full_range { 255.0 } else { 240.0 }],
        }
    }
}
