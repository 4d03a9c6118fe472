// Shows the rows of a table of predictions that fit its filters.
for (const box of document.querySelectorAll('.predictions')) {
  const wrong = box.querySelector('[name=wrong]'), words = box.querySelector('[name=words]'),
        count = box.querySelector('output'), rows = [...box.querySelectorAll('tbody tr')];
  const filter = () => {
    const wanted = words.value.toLowerCase();
    let shown = 0;
    for (const row of rows) {
      row.hidden = (wrong.checked && !row.classList.contains('wrong')) ||
                   (wanted !== '' && !row.textContent.toLowerCase().includes(wanted));
      shown += row.hidden ? 0 : 1;
    }
    count.textContent = `${shown} of ${rows.length}`;
  };
  wrong.addEventListener('change', filter);
  words.addEventListener('input', filter);
  filter();
}
