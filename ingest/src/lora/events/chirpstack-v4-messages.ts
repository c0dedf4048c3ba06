import { type MessageType, ScalarType } from '@protobuf-ts/runtime';
import { message, Struct, Timestamp } from './protobuf.ts';

/** The protobuf form of ChirpStack v4's events and of its downlink command, as far as they are used.
 *  @source chirpstack/api/proto: integration/integration.proto, gw/gw.proto, common/common.proto */

const { STRING, BOOL, UINT32, INT32, BYTES, FLOAT, DOUBLE } = ScalarType;

const DeviceInfo = message('integration.DeviceInfo', {
  tenant_id: [1, STRING],
  application_id: [3, STRING],
  application_name: [4, STRING],
  device_profile_id: [5, STRING],
  device_profile_name: [6, STRING],
  device_name: [7, STRING],
  dev_eui: [8, STRING],
});
const Location = message('common.Location', {
  latitude: [1, DOUBLE],
  longitude: [2, DOUBLE],
  altitude: [3, DOUBLE],
  source: [4, INT32],
  accuracy: [5, FLOAT],
});
const UplinkRxInfo = message('gw.UplinkRxInfo', {
  gateway_id: [1, STRING],
  rssi: [6, INT32],
  snr: [7, FLOAT],
  location: [12, Location],
});
const Lora = message('gw.LoraModulationInfo', {
  bandwidth: [1, UINT32],
  spreading_factor: [2, UINT32],
  code_rate: [5, INT32],
});
const Modulation = message('gw.Modulation', { lora: [3, Lora] });
const TxInfo = message('gw.UplinkTxInfo', { frequency: [1, UINT32], modulation: [2, Modulation] });

const common = {
  deduplication_id: [1, STRING],
  time: [2, Timestamp],
  device_info: [3, DeviceInfo],
} as const;

export const CHIRPSTACK_V4_EVENTS: Readonly<Record<string, MessageType<object>>> = {
  up: message('integration.UplinkEvent', {
    ...common,
    dev_addr: [4, STRING],
    adr: [5, BOOL],
    dr: [6, UINT32],
    f_cnt: [7, UINT32],
    f_port: [8, UINT32],
    confirmed: [9, BOOL],
    data: [10, BYTES],
    object: [11, Struct],
    rx_info: [12, { several: UplinkRxInfo }],
    tx_info: [13, TxInfo],
  }),
  join: message('integration.JoinEvent', { ...common, dev_addr: [4, STRING] }),
  ack: message('integration.AckEvent', {
    ...common,
    queue_item_id: [4, STRING],
    acknowledged: [5, BOOL],
    f_cnt_down: [6, UINT32],
  }),
  txack: message('integration.TxAckEvent', {
    downlink_id: [1, UINT32],
    time: [2, Timestamp],
    device_info: [3, DeviceInfo],
    queue_item_id: [4, STRING],
    f_cnt_down: [5, UINT32],
    gateway_id: [6, STRING],
    tx_info: [7, message('gw.DownlinkTxInfo', { frequency: [1, UINT32] })],
  }),
  log: message('integration.LogEvent', {
    time: [1, Timestamp],
    device_info: [2, DeviceInfo],
    level: [3, INT32],
    code: [4, INT32],
    description: [5, STRING],
    context: [6, 'map'],
  }),
  status: message('integration.StatusEvent', {
    ...common,
    margin: [5, INT32],
    external_power_source: [6, BOOL],
    battery_level_unavailable: [7, BOOL],
    battery_level: [8, FLOAT],
  }),
  location: message('integration.LocationEvent', { ...common, location: [4, Location] }),
  integration: message('integration.IntegrationEvent', {
    ...common,
    integration_name: [4, STRING],
    event_type: [5, STRING],
    object: [6, Struct],
  }),
};

export const DownlinkCommand = message('integration.DownlinkCommand', {
  id: [1, STRING],
  dev_eui: [2, STRING],
  confirmed: [3, BOOL],
  f_port: [4, UINT32],
  data: [5, BYTES],
  object: [6, Struct],
  expires_at: [7, Timestamp],
});

/** Names by number, as protobuf has them. */
export const LOG_LEVELS = ['INFO', 'WARNING', 'ERROR'];
export const LOG_CODES = [
  'UNKNOWN',
  'DOWNLINK_PAYLOAD_SIZE',
  'UPLINK_CODEC',
  'DOWNLINK_CODEC',
  'OTAA',
  'UPLINK_F_CNT_RESET',
  'UPLINK_MIC',
  'UPLINK_F_CNT_RETRANSMISSION',
  'DOWNLINK_GATEWAY',
  'RELAY_NEW_END_DEVICE',
  'F_CNT_DOWN',
  'EXPIRED',
];
export const LOCATION_SOURCES = [
  'UNKNOWN',
  'GPS',
  'CONFIG',
  'GEO_RESOLVER_TDOA',
  'GEO_RESOLVER_RSSI',
  'GEO_RESOLVER_GNSS',
  'GEO_RESOLVER_WIFI',
];
export const CODE_RATES = [
  '',
  'CR_4_5',
  'CR_4_6',
  'CR_4_7',
  'CR_4_8',
  'CR_3_8',
  'CR_2_6',
  'CR_1_4',
  'CR_1_6',
  'CR_5_6',
];
