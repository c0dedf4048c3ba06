export const name = 'people';
export const sql = `
`;
