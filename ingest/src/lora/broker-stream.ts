import { connect as connectTcp, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { connect as connectTls } from 'node:tls';
import type { NetworkServerMqtt } from '@millrace/core';
import WebSocket, { createWebSocketStream } from 'ws';
import { guardedLookup, hostFault } from './addresses.ts';

const PORTS: Readonly<Record<string, number>> = { 'mqtt:': 1883, 'mqtts:': 8883, 'ws:': 80, 'wss:': 443 };
const HANDSHAKE_MS_MAX = 20_000;
const KEEP_ALIVE_MS = 60_000;

/** Opens the connection that a broker's settings name.
 *  @param privateToo whether any address will do  @param packetBytesMax a larger packet ends it
 *  @throws PrivateAddress, TypeError for what is no URL; what fails later is an error of the stream */
export function openBrokerStream(mqtt: NetworkServerMqtt, privateToo: boolean, packetBytesMax: number): Duplex {
  const url = new URL(mqtt.url);
  const fault = hostFault(url.hostname, privateToo);
  if (fault !== null) throw fault;
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1');
  const port = url.port === '' ? (PORTS[url.protocol] ?? 1883) : Number(url.port);
  const lookup = guardedLookup(privateToo);
  const secrets = {
    ...(mqtt.ca === '' ? {} : { ca: mqtt.ca }),
    ...(mqtt.certificate === '' ? {} : { cert: mqtt.certificate, key: mqtt.key }),
  };
  let stream: Duplex;
  if (url.protocol === 'ws:' || url.protocol === 'wss:') {
    const socket = new WebSocket(url, ['mqtt'], {
      ...secrets,
      lookup,
      maxPayload: packetBytesMax + HEADER_BYTES_MAX,
      handshakeTimeout: HANDSHAKE_MS_MAX,
      followRedirects: false,
      perMessageDeflate: false,
    });
    stream = createWebSocketStream(socket);
  } else if (url.protocol === 'mqtts:') {
    const socket = connectTls({
      host,
      port,
      lookup,
      servername: /[^\d.:]/.test(host) && !host.includes(':') ? host : '',
      ...secrets,
    });
    stream = kept(socket);
  } else {
    stream = kept(connectTcp({ host, port, lookup }));
  }
  guardPackets(stream, packetBytesMax);
  return stream;
}

function kept<S extends Socket>(socket: S): S {
  socket.setNoDelay(true);
  socket.setKeepAlive(true, KEEP_ALIVE_MS);
  return socket;
}

const HEADER_BYTES_MAX = 65_600;

/** Ends a stream of MQTT packets as soon as one announces that it is larger: nobody gathers it first. */
function guardPackets(stream: Duplex, packetBytesMax: number): void {
  let left = 0;
  let size = 0;
  /** 0: before the type; from 1 on: the place of the length's next byte. */
  let place = 0;
  stream.on('data', (chunk: Buffer) => {
    for (let at = 0; at < chunk.length; ) {
      if (left > 0) {
        const taken = Math.min(left, chunk.length - at);
        left -= taken;
        at += taken;
        continue;
      }
      const byte = chunk[at++] as number;
      if (place === 0) {
        place = 1;
        size = 0;
        continue;
      }
      size += (byte & 127) * 128 ** (place - 1);
      if (byte >= 128 && place < 4) {
        place++;
        continue;
      }
      place = 0;
      left = size;
      if (size > packetBytesMax + HEADER_BYTES_MAX) {
        stream.destroy(new Error(`A packet of ${size} bytes is larger than MILLRACE_LORA_EVENT_BYTES_MAX allows.`));
        return;
      }
    }
  });
}
