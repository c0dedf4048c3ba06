import { onOff } from '@millrace/core';
import { z } from 'zod';

const count = (min: number, max: number) => z.coerce.number().int().min(min).max(max);
const MIB = 1_048_576;

/** What the LwM2M server is configured with. It listens where CoAP and CoAPS do. */
export const Lwm2mConfig = z.object({
  MILLRACE_LWM2M: onOff
    .default(true)
    .describe('Whether devices may register by LwM2M (/rd, /dp and /bs of CoAP and CoAPS).'),
  MILLRACE_LWM2M_MODELS: z
    .string()
    .optional()
    .describe(
      'Directory of object definitions (XML of the OMA registry) that are added to the bundled ones, or replace them.',
    ),
  MILLRACE_LWM2M_REGISTRATIONS_MAX: count(1, 10_000_000)
    .default(100_000)
    .describe('Devices that may be registered with this node; further ones are answered 5.03.'),
  MILLRACE_LWM2M_LINKS_MAX: count(1, 65_536)
    .default(512)
    .describe('Objects and instances that a registration may list; more are refused with 4.00.'),
  MILLRACE_LWM2M_PAYLOAD_BYTES_MAX: count(1_024, 64 * MIB)
    .default(262_144)
    .describe(
      'Largest registration, report or answer of a device, joined from blocks; larger ones are refused with 4.13.',
    ),
  MILLRACE_LWM2M_VALUES_MAX: count(1, 65_536)
    .default(4_096)
    .describe('Values in one report or answer of a device; more are refused as malformed.'),
  MILLRACE_LWM2M_OBSERVATIONS_PER_DEVICE_MAX: count(0, 65_536)
    .default(64)
    .describe('Paths that are observed of one device; further ones are refused.'),
  MILLRACE_LWM2M_AWAKE_MS: count(100, 3_600_000)
    .default(93_000)
    .describe(
      'A device in queue mode hears for so long after it spoke (MAX_TRANSMIT_WAIT of CoAP); then commands wait for its next sign.',
    ),
  MILLRACE_LWM2M_REQUEST_MS: count(100, 600_000)
    .default(60_000)
    .describe('A device that has not answered within this time is taken for asleep until its next sign.'),
  MILLRACE_LWM2M_BUSY_DEVICES_MAX: count(1, 65_536)
    .default(1_024)
    .describe('Devices that commands are carried out on at once; others wait.'),
  MILLRACE_LWM2M_REQUESTS_MAX: count(1, 65_536)
    .default(512)
    .describe(
      'Registrations, updates and bootstraps that are being looked up at once; further ones are answered 5.03.',
    ),
  MILLRACE_LWM2M_REPORTS_MAX: count(1, 1_000_000)
    .default(10_000)
    .describe(
      'Notifications that may wait for the log at once; further ones are dropped and counted (Send is answered 5.03).',
    ),
});
export type Lwm2mConfig = Readonly<z.infer<typeof Lwm2mConfig>>;
