import { type MessageType, ScalarType } from '@protobuf-ts/runtime';
import { message, Timestamp } from './protobuf.ts';

/** The protobuf form of ChirpStack v3's events, as far as they are used. Names are those of its JSON form.
 *  @source chirpstack-api v3: as/integration/integration.proto, gw/gw.proto, common/common.proto */

const { STRING, BOOL, UINT32, UINT64, INT32, BYTES, FLOAT, DOUBLE } = ScalarType;

const Location = message('common.Location', {
  latitude: [1, DOUBLE],
  longitude: [2, DOUBLE],
  altitude: [3, DOUBLE],
  source: [4, INT32],
  accuracy: [5, UINT32],
});
const UplinkRXInfo = message('gw.UplinkRXInfo', {
  gateway_id: [1, BYTES, 'gatewayID'],
  rssi: [5, INT32],
  lora_snr: [6, DOUBLE, 'loRaSNR'],
  location: [11, Location],
  uplink_id: [16, BYTES, 'uplinkID'],
});
const Lora = message('gw.LoRaModulationInfo', {
  bandwidth: [1, UINT32],
  spreading_factor: [2, UINT32],
  code_rate: [3, STRING],
});
const UplinkTXInfo = message('gw.UplinkTXInfo', {
  frequency: [1, UINT32],
  lora_modulation_info: [3, Lora, 'loRaModulationInfo'],
});

const common = {
  application_id: [1, UINT64, 'applicationID'],
  application_name: [2, STRING],
  device_name: [3, STRING],
  dev_eui: [4, BYTES, 'devEUI'],
} as const;

export const CHIRPSTACK_V3_EVENTS: Readonly<Record<string, MessageType<object>>> = {
  up: message('integration.UplinkEvent', {
    ...common,
    rx_info: [5, { several: UplinkRXInfo }],
    tx_info: [6, UplinkTXInfo],
    adr: [7, BOOL],
    dr: [8, UINT32],
    f_cnt: [9, UINT32],
    f_port: [10, UINT32],
    data: [11, BYTES],
    object_json: [12, STRING, 'objectJSON'],
    confirmed_uplink: [14, BOOL],
    dev_addr: [15, BYTES],
    published_at: [16, Timestamp],
    device_profile_id: [17, STRING, 'deviceProfileID'],
    device_profile_name: [18, STRING],
  }),
  join: message('integration.JoinEvent', { ...common, dev_addr: [5, BYTES], published_at: [10, Timestamp] }),
  ack: message('integration.AckEvent', {
    ...common,
    acknowledged: [5, BOOL],
    f_cnt: [6, UINT32],
    published_at: [8, Timestamp],
  }),
  txack: message('integration.TxAckEvent', {
    ...common,
    f_cnt: [5, UINT32],
    gateway_id: [7, BYTES, 'gatewayID'],
    published_at: [9, Timestamp],
  }),
  error: message('integration.ErrorEvent', {
    ...common,
    type: [5, INT32],
    error: [6, STRING],
    f_cnt: [7, UINT32],
    published_at: [9, Timestamp],
  }),
  status: message('integration.StatusEvent', {
    ...common,
    margin: [5, INT32],
    external_power_source: [6, BOOL],
    battery_level_unavailable: [7, BOOL],
    battery_level: [8, FLOAT],
    published_at: [10, Timestamp],
  }),
  location: message('integration.LocationEvent', { ...common, location: [5, Location], published_at: [9, Timestamp] }),
  integration: message('integration.IntegrationEvent', {
    ...common,
    integration_name: [6, STRING],
    event_type: [7, STRING],
    object_json: [8, STRING, 'objectJSON'],
    published_at: [9, Timestamp],
  }),
};

/** Names by number, as protobuf has them. */
export const ERROR_TYPES = [
  'UNKNOWN',
  'DOWNLINK_PAYLOAD_SIZE',
  'DOWNLINK_FCNT',
  'UPLINK_CODEC',
  'DOWNLINK_CODEC',
  'OTAA',
  'UPLINK_FCNT_RESET',
  'UPLINK_MIC',
  'UPLINK_FCNT_RETRANSMISSION',
  'DOWNLINK_GATEWAY',
];
export const LOCATION_SOURCES = ['UNKNOWN', 'GPS', 'CONFIG', 'GEO_RESOLVER_TDOA', 'GEO_RESOLVER_RSSI'];
