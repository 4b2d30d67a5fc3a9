// --- start -----------------------------------------------------------------------------------------------

function changed() {
  filterTables();
  drawPlots();
  filterPictures();
  filterPapers();
}

find("made").textContent = page.made;
makeFilter(changed);
makeTables();
makePlots();
makePictures();
makePapers();
changed();
