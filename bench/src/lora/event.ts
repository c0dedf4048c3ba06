/** Uplinks of a ChirpStack v4, written once and numbered in place. */
export const APPLICATION_ID = '3f1d0c1a-5c0b-4d53-9a1c-6d3c1f0a9b11';

export const devEuiOf = (index: number): string => (0x70b3d57ed0060000n + BigInt(index)).toString(16);
export const topicOf = (index: number): string => `application/${APPLICATION_ID}/device/${devEuiOf(index)}/event/up`;

/** @param number of the event: it tells it from all others  @units timeMs: ms since 1970 */
export function uplinkOf(device: number, number: number, timeMs: number): Buffer {
  return Buffer.from(
    JSON.stringify({
      deduplicationId: `00000000-0000-4000-8000-${number.toString(16).padStart(12, '0')}`,
      time: new Date(timeMs).toISOString(),
      deviceInfo: {
        tenantId: '52f14cd4-c6f1-4fbd-8f87-4025e1d49242',
        tenantName: 'Bench',
        applicationId: APPLICATION_ID,
        applicationName: 'Bench',
        deviceProfileId: '14855bf7-d10d-4aee-b618-ebfcb64dc7ad',
        deviceProfileName: 'Bench',
        deviceName: `bench-${device}`,
        devEui: devEuiOf(device),
        deviceClassEnabled: 'CLASS_A',
        tags: {},
      },
      devAddr: '00189440',
      adr: true,
      dr: 5,
      fCnt: number & 0xffff,
      fPort: 2,
      confirmed: false,
      data: 'CMwBFQ==',
      object: { temperature: 21.5 + (number % 50) / 10, humidity: 40 + (number % 30), battery_v: 3.6 },
      rxInfo: [
        {
          gatewayId: '0016c001f153a14c',
          uplinkId: number,
          gwTime: new Date(timeMs).toISOString(),
          rssi: -57,
          snr: 10,
          channel: 2,
          location: { latitude: 52.0907, longitude: 5.1214, altitude: 12 },
          context: 'EFwMtA==',
          crcStatus: 'CRC_OK',
        },
      ],
      txInfo: {
        frequency: 868_500_000,
        modulation: { lora: { bandwidth: 125_000, spreadingFactor: 7, codeRate: 'CR_4_5' } },
      },
    }),
  );
}
