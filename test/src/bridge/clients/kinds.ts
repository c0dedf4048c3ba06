import type { ClientKind } from './client.ts';
import { curl } from './curl.ts';
import { fetchClient } from './fetch.ts';
import { mosquitto } from './mosquitto.ts';
import { mqttJs } from './mqtt-js.ts';
import { paho } from './paho.ts';
import { websockets } from './websockets.ts';
import { wsChannel, wsMany } from './ws.ts';

/** All who speak to a node in the tests. */
export const KINDS: readonly ClientKind[] = [
  fetchClient,
  curl,
  mosquitto,
  mqttJs('tcp'),
  mqttJs('ws'),
  paho('tcp'),
  paho('ws'),
  wsChannel,
  wsMany,
  websockets,
];
