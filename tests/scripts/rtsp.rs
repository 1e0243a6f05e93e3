// SPDX-License-Identifier: MPL-2.0

//! A server of RTSP for one client: it plays the clip once, as a camera would, and says goodbye at its end.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};

use gst::prelude::*;

use crate::CLIP;

const SDP: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=clip\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\na=control:*\r\n\
     m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\na=control:video\r\n";

pub struct Server {
    listener: TcpListener,
    port: u16,
}

impl Server {
    pub fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a socket");
        let port = listener.local_addr().expect("an address").port();
        Self { listener, port }
    }

    pub fn uri(&self) -> String {
        format!("rtsp://127.0.0.1:{}/clip", self.port)
    }

    /// Serves the first client until it goes.
    pub fn serve(self) {
        let (stream, _) = self.listener.accept().expect("a client");
        let mut answers = stream.try_clone().expect("a socket");
        let mut requests = BufReader::new(stream);
        let mut player = None;
        let mut ports = None;
        while let Some((method, headers)) = request(&mut requests) {
            let header = |name: &str| headers.get(name).map_or("", String::as_str);
            let mut more = String::new();
            let mut body = "";
            let mut status = "200 OK";
            match method.as_str() {
                "OPTIONS" => more += "Public: OPTIONS, DESCRIBE, SETUP, PLAY, GET_PARAMETER, TEARDOWN\r\n",
                "DESCRIBE" => {
                    more += &format!("Content-Type: application/sdp\r\nContent-Base: {}/\r\n", self.uri());
                    body = SDP;
                }
                "SETUP" => match client_ports(header("transport")) {
                    Some(found) => {
                        ports = Some(found);
                        more += &format!("Transport: {};server_port=9-10\r\nSession: 1\r\n", header("transport"));
                    }
                    None => status = "461 Unsupported Transport",
                },
                "PLAY" => more += "Session: 1\r\nRange: npt=0-\r\n",
                _ => more += "Session: 1\r\n",
            }
            let answer = format!(
                "RTSP/1.0 {status}\r\nCSeq: {}\r\n{more}Content-Length: {}\r\n\r\n{body}",
                header("cseq"),
                body.len()
            );
            if answers.write_all(answer.as_bytes()).is_err() || method == "TEARDOWN" {
                break;
            }
            if method == "PLAY" && player.is_none() {
                player = ports.map(play);
            }
        }
        if let Some(player) = player {
            assert!(player.set_state(gst::State::Null).is_ok());
        }
    }
}

/// The method of the next request, and its headers by their names in lower case.
fn request(from: &mut BufReader<TcpStream>) -> Option<(String, HashMap<String, String>)> {
    let mut lines = from.lines().map_while(Result::ok);
    let method = lines.next()?.split(' ').next()?.to_string();
    let headers = lines.take_while(|line| !line.is_empty()).filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_lowercase(), value.trim().to_string()))
    });
    Some((method, headers.collect()))
}

/// Where a client wants RTP and RTCP, if by UDP.
fn client_ports(transport: &str) -> Option<(u16, u16)> {
    let ports = transport.split(';').find_map(|part| part.strip_prefix("client_port="))?;
    let (rtp, rtcp) = ports.split_once('-')?;
    Some((rtp.parse().ok()?, rtcp.parse().ok()?))
}

fn play((rtp, rtcp): (u16, u16)) -> gst::Pipeline {
    let player = gst::parse::launch(&format!(
        "rtpbin name=session filesrc location={CLIP} ! decodebin ! videoconvert ! video/x-raw,format=I420 ! identity sync=true \
         ! x264enc tune=zerolatency speed-preset=veryfast pass=qual quantizer=15 key-int-max=25 ! rtph264pay config-interval=-1 pt=96 \
         ! session.send_rtp_sink_0 session.send_rtp_src_0 ! udpsink host=127.0.0.1 port={rtp} async=false sync=false \
         session.send_rtcp_src_0 ! udpsink host=127.0.0.1 port={rtcp} async=false sync=false"
    ));
    let player = player.expect("a pipeline").downcast::<gst::Pipeline>().expect("a pipeline");
    assert!(player.set_state(gst::State::Playing).is_ok());
    player
}
