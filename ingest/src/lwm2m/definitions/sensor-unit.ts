/** Objects of sensors leave the unit of their value to the device (resource 5701). Where it does not say, it is the unit
 *  that the object's description names.
 *  @source OMA registry, descriptions of 3300 ff.; RFC 8428 §12.1, RFC 8798 for how units are written */
const SENSOR_UNITS: ReadonlyMap<number, string> = new Map([
  [3301, 'lx'], // illuminance
  [3303, 'Cel'], // temperature
  [3304, '%RH'], // humidity
  [3305, 'W'], // power measurement
  [3314, 'T'], // magnetometer
  [3315, 'Pa'], // barometer
  [3316, 'V'], // voltage
  [3317, 'A'], // current
  [3318, 'Hz'], // frequency
  [3319, 'm'], // depth
  [3320, '%'], // percentage
  [3321, 'm'], // altitude
  [3322, 'N'], // load
  [3323, 'Pa'], // pressure
  [3324, 'dB'], // loudness
  [3326, 'pH'], // acidity
  [3327, 'S/m'], // conductivity
  [3328, 'W'], // power
  [3330, 'm'], // distance
  [3331, 'Wh'], // energy
]);

/** Those that hold what is measured: the value, and the least and most of it. */
const MEASURED: ReadonlySet<number> = new Set([5700, 5601, 5602, 5603, 5604, 5702, 5703, 5704]);

/** Where a device says the unit of its sensor: `/<object>/<instance>/5701`. */
export const SENSOR_UNITS_RESOURCE = 5701;

/** Whether the unit of a resource is what its instance's 5701 says. */
export const isMeasured = (object: number, resource: number): boolean =>
  object >= 3_200 && object < 3_400 && MEASURED.has(resource);

export const sensorUnit = (object: number, resource: number): string =>
  isMeasured(object, resource) ? (SENSOR_UNITS.get(object) ?? '') : '';
