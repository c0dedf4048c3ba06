/** Network servers and codecs. */
export const name = 'lora';
export const sql = `
`;
