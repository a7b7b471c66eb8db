print('noise on import')
